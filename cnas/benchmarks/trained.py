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

from cnas.benchmarks.base import check_data_set
from cnas.benchmarks.picks import Numbers
from cnas.benchmarks.ranking import kendall_tau, tau_error
from cnas.benchmarks.table_files import read_columns
from cnas.benchmarks.tabular import Ceiling, ShortTraining, TabularBenchmark
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
        for row, values in enumerate(self._rows):
            self.value(values["valid_perplexity"], f"{source}, row {row}, valid_perplexity")
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
        """How many nodes have each of the operations, or how few, whichever agrees with the values.

        That is more than counting alone could know, which a search must beat all the more.
        """
        return self._counts

    @cached_property
    def _counts(self) -> dict[str, Numbers]:
        cells, (dataset,) = [self._space.parse(text) for text in self.architectures], self.data_sets
        found = {}
        for place, name in enumerate(self._space.operations):
            counts = np.array([sum(operation == place for _, operation in cell.choices) for cell in cells], dtype=float)
            tau = kendall_tau(counts, self.quality(dataset)) if len(cells) > 1 else None
            if tau is not None:
                found[f"most {name}" if tau > 0 else f"fewest {name}"] = counts if tau > 0 else -counts
        return found

    @cached_property
    def free_taus(self) -> dict[str, float]:
        """Kendall's τ of every score of `free_scores` with the values."""
        (dataset,) = self.data_sets
        return {name: kendall_tau(scores, self.quality(dataset)) or 0.0 for name, scores in self._counts.items()}

    @property
    def size_classes(self) -> Numbers | None:
        """The count that agrees best with the values [A]: what a ranking knows beyond it, counting does not."""
        return self._counts[max(self.free_taus, key=self.free_taus.__getitem__)] if self._counts else None

    def short_training(self, dataset: str) -> ShortTraining | None:
        """The validation perplexities that the cells were trained to, where the table says how much text that took."""
        check_data_set(dataset, self._values)
        try:
            seen = int(self.training["retrain.num_train_epochs"]) * int(self.training["used.train"])
        except (KeyError, TypeError, ValueError):
            return None
        valid = self.values_of(self.seeds[0], "valid_perplexity")
        return ShortTraining("validation perplexity", -np.array([valid[text] for text in self.architectures]), seen)

    @property
    def seeds(self) -> list[int]:
        """The seeds of the rows, the one that all cells have first."""
        return list(dict.fromkeys(values["seed"] for values in self._rows))

    def values_of(self, seed: int, column: str = "test_perplexity") -> dict[str, float]:
        """Perplexities by cell.

        Args:
            seed: that the cells were trained with.
            column: of the table.
        """
        return {values["arch"]: float(values[column]) for values in self._rows if values["seed"] == seed}

    def ceiling(self) -> Ceiling | None:
        """How far the trainings with the first two seeds agree; None where fewer than two cells have both."""
        if len(self.seeds) < 2:
            return None
        one, other = (self.values_of(seed) for seed in self.seeds[:2])
        both = [text for text in one if text in other]
        if len(both) < 2:
            return None
        pair = [one[text] for text in both], [other[text] for text in both]
        tau = kendall_tau(*pair)
        return None if tau is None else Ceiling(tau, tau_error(*pair), len(both))


def _training(text: object, source: str) -> dict[str, Any]:
    """The fields that the cells were trained by."""
    try:
        found = json.loads(str(text))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{source}: training must be a JSON object, got {str(text)[:40]!r}")
    return found
