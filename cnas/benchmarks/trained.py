"""A benchmark of our own: recurrent cells that were all trained alike, a row of a table for each cell and seed.

Legend: A cells, in the order of their first rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cnas.benchmarks.picks import Numbers
from cnas.benchmarks.ranking import kendall_tau
from cnas.benchmarks.table_files import read_columns
from cnas.benchmarks.tabular import TabularBenchmark
from cnas.errors import UserError
from cnas.spaces import space_class
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

NEEDED = ("arch", "seed", "space", "dataset", "training", "valid_perplexity", "test_perplexity")
"""The columns of a table: ``training`` is the same text in every row, what the cells were trained by, as JSON."""


class TrainedTable(TabularBenchmark):
    """Test perplexities of the cells of a recurrent space that runs of this package have trained alike.

    A cell's value is that of the first seed, which all cells have; further seeds show how much of their order is
    chance (`ceiling`).

    Args:
        columns: by name, lists of equal length [rows]; those of `NEEDED`.
        source: where they come from; every `Record` repeats it.

    Raises:
        UserError: a row is wrong, or cells were trained unlike; the message names the row.
    """

    metric = "test_perplexity"
    higher_is_better = False

    def __init__(self, columns: Mapping[str, Sequence[Any]], source: str) -> None:
        self._rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if not self._rows:
            raise UserError(f"{source} has no rows")
        for name in ("space", "dataset", "training"):
            for row, values in enumerate(self._rows):
                if values[name] != self._rows[0][name]:
                    raise UserError(
                        f"{source}, row {row}: {name} differs from that of row 0, so the cells were trained unlike"
                    )
        first = self._rows[0]
        self.space = str(first["space"])
        self.training = _training(first["training"], source)
        self._space: SearchSpace = space_class(self.space)()
        rows = [values for values in self._rows if values["seed"] == first["seed"]]
        super().__init__(
            [values["arch"] for values in rows],
            {str(first["dataset"]): [values["test_perplexity"] for values in rows]},
            source,
        )
        if unknown := {values["arch"] for values in self._rows} - set(self.architectures):
            raise UserError(f"{source}: {min(unknown)!r} has not the seed {first['seed']}, which all cells need")

    @classmethod
    def load(cls, path: str | Path) -> TrainedTable:
        """Read a Parquet table, as ``cnas table runs`` writes it.

        Raises:
            UserError: there is no such file, it is not Parquet, or a row or column is wrong.
        """
        path = Path(path)
        return cls(read_columns(path, NEEDED), path.name)

    def notation(self, architecture: Architecture | str) -> str:
        """The string of a cell in the notation of its space, checked.

        Raises:
            UserError: it is of another space, or the string departs from the notation.
        """
        if isinstance(architecture, str):
            return self._space.parse(architecture).to_str()
        if architecture.space != self.space:
            raise UserError(f"architecture must be of the space {self.space}, got one of {architecture.space}")
        return architecture.to_str()

    def value(self, found: object, where: str) -> float:
        """``found`` if it is a perplexity.

        Raises:
            UserError: it is not; ``where`` says which it is.
        """
        if not isinstance(found, int | float) or isinstance(found, bool) or not 1 <= found < math.inf:
            raise UserError(f"{where} must be a perplexity, at least 1, got {str(found)[:40]!r}")
        return float(found)

    def covers(self, space: SearchSpace) -> bool:
        """Whether the cells of the table are of ``space``, whatever the sizes of its networks."""
        return super().covers(space) and space.size == self._space.size

    def fixed_set(self) -> tuple[str, ...]:
        """All cells of the table."""
        return self.architectures

    def free_scores(self) -> Mapping[str, Numbers]:
        """How few nodes have each of the operations; which of these say anything is not known beforehand."""
        found = {}
        for place, name in enumerate(self._space.operations):
            counts = [-sum(operation == place for _, operation in each.choices) for each in self._parsed]
            if len(set(counts)) > 1:
                found[f"fewest {name}"] = np.array(counts, dtype=np.float64)
        return found

    @cached_property
    def _parsed(self) -> list[Architecture]:
        return [self._space.parse(text) for text in self.architectures]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the rows, the one that all cells have first."""
        return list(dict.fromkeys(values["seed"] for values in self._rows))

    def values_of(self, seed: int) -> dict[str, float]:
        """Test perplexities by cell, of those that were trained with a seed."""
        return {values["arch"]: float(values["test_perplexity"]) for values in self._rows if values["seed"] == seed}

    def ceiling(self) -> tuple[float, int] | None:
        """How far two trainings of the same cells agree: Kendall's τ between the first two seeds, and how many cells.

        No supernet can be expected to agree better than that with one of them. None where there is one seed, or fewer
        than two cells have both, or they are not told apart.
        """
        if len(self.seeds) < 2:
            return None
        one, other = (self.values_of(seed) for seed in self.seeds[:2])
        both = [text for text in one if text in other]
        if len(both) < 2:
            return None
        tau = kendall_tau([one[text] for text in both], [other[text] for text in both])
        return None if tau is None else (tau, len(both))


def _training(text: object, source: str) -> dict[str, Any]:
    """The fields that the cells were trained by."""
    try:
        found = json.loads(str(text))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{source}: training must be a JSON object, got {str(text)[:40]!r}")
    return found
