"""NATS-Bench's topology space from one compact table, and that table's way to and from Parquet.

Legend: A architectures (15,625), in the benchmark's own order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnas.benchmarks.picks import Numbers
from cnas.benchmarks.table_files import read_columns
from cnas.benchmarks.tabular import ShortTraining, TabularBenchmark
from cnas.errors import UserError
from cnas.random import generator
from cnas.spaces.nats.space import NatsSpace, read
from cnas.spaces.nats.topology import CONV_1X1, CONV_3X3, EDGES, NONE, is_connected, leading_to_output, reached_from
from cnas.types import Architecture

SIZE = NatsSpace().size
"""How many architectures there are: 15,625."""

TEST_COLUMNS = {
    "cifar10": "cifar10_test_200",
    "cifar100": "cifar100_test_200",
    "imagenet16_120": "imagenet16_120_test_200",
}
"""By data set, the column of test accuracies after 200 epochs, means over the benchmark's seeds, in percent."""

SHORT_COLUMNS = tuple(f"{name}_{split}_12" for name in TEST_COLUMNS for split in ("test", "valid"))
"""Accuracies after 12 epochs; a table may lack them."""

NEEDED = ("index", "arch", *TEST_COLUMNS.values())

FIXED = 1_000
"""So many connected cells are ranked by every supernet."""
PARAMETERS = {CONV_3X3: 9, CONV_1X1: 1}
"""Of an operation, in squares of the number of channels; the others have none."""


def notation(architecture: Architecture | str) -> str:
    """The string of an architecture, checked.

    Raises:
        UserError: it is of another space, or the string departs from the notation; the message has the position.
    """
    if isinstance(architecture, str):
        read(architecture)
        return architecture
    if architecture.space != NatsSpace.name:
        raise UserError(f"architecture must be of the space {NatsSpace.name}, got one of {architecture.space}")
    return architecture.to_str()


def accuracy(found: object, where: str) -> float:
    """``found`` if it is a percentage.

    Raises:
        UserError: it is not; ``where`` says which it is.
    """
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found <= 100:
        raise UserError(f"{where} must be an accuracy from 0 to 100, got {str(found)[:40]!r}")
    return float(found)


class NatsTable(TabularBenchmark):
    """Test accuracies of all 15,625 cells after 200 epochs of training (Dong et al. 2021, NATS-Bench, section 3).

    They are means over the benchmark's seeds, in percent, for ``cifar10`` (trained on all 50,000 images), ``cifar100``
    and ``imagenet16_120`` (their ``x-test`` halves): the figures of the paper's Table 2. Cells that compute the same in
    different notations were trained apart and are different entries.

    Args:
        architectures: their strings [A], each cell of the space once; the place is the benchmark's index.
        values: test accuracies by data set, float [A] in percent.
        source: where they come from; every `Record` repeats it.
        short: validation accuracies after 12 epochs by data set, float [A] in percent; a table may lack them.

    Raises:
        UserError: an architecture is missing or malformed, or an accuracy is none; the message names the row.
    """

    space = NatsSpace.name
    notation, value = staticmethod(notation), staticmethod(accuracy)

    def __init__(
        self,
        architectures: Sequence[str],
        values: Mapping[str, Sequence[float]],
        source: str,
        short: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__(architectures, values, source)
        self._short = {dataset: np.asarray(column, dtype=np.float64) for dataset, column in (short or {}).items()}
        if len(self) != SIZE:
            raise UserError(f"{source} must have a row for each of the {SIZE:,} architectures, got {len(self):,}")

    @classmethod
    def load(cls, path: str | Path) -> NatsTable:
        """Read a Parquet table, as ``cnas table build`` writes it.

        Args:
            path: of a table with the columns ``index``, ``arch``, ``cifar10_test_200``, ``cifar100_test_200`` and
                ``imagenet16_120_test_200``, and those of `SHORT_COLUMNS` that there are; others are ignored, and rows
                may stand in any order.

        Raises:
            UserError: there is no such file, it is not Parquet, or it lacks rows or columns.
        """
        path = Path(path)
        columns = read_columns(path, NEEDED, SHORT_COLUMNS)
        order = _order(columns["index"], path)
        return cls.of_columns({name: [values[row] for row in order] for name, values in columns.items()}, path.name)

    @classmethod
    def of_columns(cls, columns: Mapping[str, Sequence[Any]], source: str) -> NatsTable:
        """A table from its columns in the benchmark's order.

        Args:
            columns: by name; ``arch``, those of `TEST_COLUMNS`, and of `SHORT_COLUMNS` those that there are.
            source: where they come from.
        """
        values = {dataset: columns[column] for dataset, column in TEST_COLUMNS.items()}
        short = {name: columns[f"{name}_valid_12"] for name in TEST_COLUMNS if f"{name}_valid_12" in columns}
        return cls(columns["arch"], values, source, short)

    @cached_property
    def connected(self) -> NDArray[np.bool_]:
        """Which cells let anything through, bool [A]: 15,284 of them."""
        return np.array([is_connected(operations) for operations in self._operations])

    @cached_property
    def _operations(self) -> list[list[int]]:
        return [read(text) for text in self.architectures]

    def fixed_set(self) -> tuple[str, ...]:
        """1,000 connected cells, drawn once for all by the benchmark's own seed."""
        order = torch.randperm(len(self), generator=generator(0, "benchmark/nats")).tolist()
        return tuple(self.architectures[index] for index in order if self.connected[index])[:FIXED]

    def free_scores(self) -> Mapping[str, Numbers]:
        """The parameters on reachable edges: those on a path from input to output; in squares of the channels."""
        return {"parameters on reachable edges": self.size_classes}

    @cached_property
    def size_classes(self) -> Numbers:
        """The parameters on reachable edges [A], in squares of the number of channels: 0 to 54."""
        return np.array([reachable_parameters(operations) for operations in self._operations], dtype=np.float64)

    def short_training(self, dataset: str) -> ShortTraining | None:
        """Validation accuracies after 12 epochs of half the training set, where the table has them."""
        found = self._short.get(dataset)
        return None if found is None else ShortTraining("validation accuracy after 12 epochs", found, 12 * 25_000)


def reachable_parameters(operations: Sequence[int]) -> int:
    """The parameters of a cell's convolutions on edges that lie on a path from its input to its output.

    Args:
        operations: index into `OPERATIONS`, one per edge.

    Returns:
        In squares of the number of channels, without biases and norms.

    Example:
        >>> reachable_parameters([CONV_3X3, NONE, NONE, CONV_1X1, NONE, NONE])  # node 1 leads nowhere
        1
    """
    open_edges = {edge for edge, operation in enumerate(operations) if operation != NONE}
    reached, leading = reached_from(0, open_edges), leading_to_output(open_edges)
    used = [edge for edge in open_edges if EDGES[edge][1] in reached and EDGES[edge][0] in leading]
    return sum(PARAMETERS.get(operations[edge], 0) for edge in used)


def _order(indices: Sequence[Any], path: Path) -> list[int]:
    """The rows in the order of their index, which has to count from 0 without a gap."""
    for row, index in enumerate(indices):
        if not isinstance(index, int):
            raise UserError(f"table {path}, row {row}: index must be a whole number, got {str(index)[:40]!r}")
    order = sorted(range(len(indices)), key=lambda row: indices[row])
    for place, index in enumerate(indices[row] for row in order):
        if index != place:
            wrong = f"lacks the index {place}" if index > place else f"has twice or below 0 the index {index}"
            raise UserError(f"table {path} {wrong}; it needs 0 to {SIZE - 1}, each once")
    return order
