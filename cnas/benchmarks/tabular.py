"""A benchmark that is one table: every architecture with what it reached, and what costs nothing to know of it.

Legend: A architectures, in the benchmark's own order.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cnas.benchmarks.base import Record, check_data_set
from cnas.benchmarks.picks import Numbers
from cnas.errors import UserError
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture


@dataclass(frozen=True)
class ShortTraining:
    """The simplest search there is: train some architectures, take the best.

    Args:
        name: what is compared then.
        scores: of all architectures [A], the higher the better.
        data: so many images or tokens one training sees, those of every epoch.
    """

    name: str
    scores: Numbers
    data: int

    def paid_by(self, data: int) -> int:
        """How many trainings see as much as a search does, but at least one.

        Args:
            data: images or tokens that the search sees.
        """
        return max(1, data // self.data)


@dataclass(frozen=True)
class Ceiling:
    """How much of a table's order is chance.

    Args:
        tau: Kendall's τ between two trainings of the same architectures.
        error: its standard error, as far as it comes of which architectures these were; None with too few.
        architectures: how many were trained twice.
    """

    tau: float
    error: float | None
    architectures: int

    @property
    def attainable(self) -> float:
        """The τ that a ranking without any error of its own would have with one of the trainings.

        It is more than two trainings have with one another, of which both err: where values and errors are normal,
        (2/π) asin √r with τ = (2/π) asin r.
        """
        return 2 / math.pi * math.asin(math.sqrt(max(0.0, math.sin(math.pi / 2 * self.tau))))


class TabularBenchmark(ABC):
    """Architectures of one space with their values on one or several data sets.

    Args:
        architectures: their strings [A], each once; the place is the benchmark's index.
        values: by data set, float [A].
        source: where they come from; every `Record` repeats it.

    Raises:
        UserError: an architecture is malformed or there twice, or a value is none; the message names the row.
    """

    space: str
    """The name of the space its architectures are of."""
    metric: ClassVar[str] = "test_accuracy"
    """What its values are, by the name ``result.json`` has."""
    higher_is_better: ClassVar[bool] = True

    def __init__(self, architectures: Sequence[str], values: Mapping[str, Sequence[float]], source: str) -> None:
        self.architectures = tuple(architectures)
        self.source = source
        self._index = self._checked()
        self._values: dict[str, Numbers] = {
            dataset: np.array([self.value(each, f"{source}, row {row}, {dataset}") for row, each in enumerate(column)])
            for dataset, column in values.items()
        }

    def __len__(self) -> int:
        return len(self.architectures)

    @property
    def data_sets(self) -> tuple[str, ...]:
        """The data sets there are values for."""
        return tuple(self._values)

    @property
    def connected(self) -> NDArray[np.bool_]:
        """Which architectures percentiles are among, bool [A]; all, where a space has no others."""
        return np.ones(len(self), dtype=np.bool_)

    @abstractmethod
    def notation(self, architecture: Architecture | str) -> str:
        """The string of an architecture, checked.

        Raises:
            UserError: it is of another space, or the string departs from the notation.
        """

    @abstractmethod
    def value(self, found: object, where: str) -> float:
        """``found`` if it is a value of the metric.

        Raises:
            UserError: it is not; ``where`` says which it is.
        """

    @abstractmethod
    def fixed_set(self) -> tuple[str, ...]:
        """The connected architectures that every supernet is measured by; they depend on the benchmark alone."""

    @abstractmethod
    def free_scores(self) -> Mapping[str, Numbers]:
        """Scores [A] that need no training, the higher the better, by what they are."""

    @property
    def size_classes(self) -> Numbers | None:
        """What a ranking might merely repeat, [A]: within equal values of it τ is measured again; None has none."""
        return None

    def short_training(self, dataset: str) -> ShortTraining | None:  # noqa: ARG002
        """What training a few architectures to choose among them shows, and costs; None where the table lacks it.

        Args:
            dataset: whose.
        """
        return None

    def quality(self, dataset: str) -> Numbers:
        """How good all architectures are, float64 [A], the higher the better: accuracies, or minus the perplexities.

        Raises:
            UserError: the table has no such data set.
        """
        check_data_set(dataset, self._values)
        return self._values[dataset].copy() if self.higher_is_better else -self._values[dataset]

    def query(self, architecture: Architecture | str) -> Record:
        """What the table says of an architecture, given itself or as its string.

        Raises:
            UserError: it is of another space, its string is malformed, or it is not in the table.
        """
        return self._record(self._place(architecture))

    def __contains__(self, architecture: Architecture | str) -> bool:
        return self.notation(architecture) in self._index

    def indices(self, architectures: Sequence[str]) -> NDArray[np.int64]:
        """The rows of some architectures.

        Raises:
            UserError: one is not in the table.
        """
        return np.array([self._place(text) for text in architectures], dtype=np.int64)

    def _place(self, architecture: Architecture | str) -> int:
        text = self.notation(architecture)
        if text not in self._index:
            raise UserError(f"{self.source} has no architecture {text[:80]!r}")
        return self._index[text]

    def best(self, dataset: str) -> Record:
        """The best architecture on ``dataset``; the first of several.

        Raises:
            UserError: the table has no such data set.
        """
        return self._record(int(self.quality(dataset).argmax()))

    def covers(self, space: SearchSpace) -> bool:
        """Whether the architectures of the table are of ``space``, whatever the sizes of its networks."""
        return space.name == self.space

    def percentiles(self, dataset: str) -> Numbers:
        """The share of connected architectures that are worse, equal ones by half, float64 [A] from 0 to 1.

        Raises:
            UserError: the table has no such data set.
        """
        check_data_set(dataset, self._values)
        return self._percentiles[dataset]

    @cached_property
    def _percentiles(self) -> dict[str, Numbers]:
        found = {}
        for dataset in self.data_sets:
            quality = self.quality(dataset)
            known = np.sort(quality[self.connected])
            sides = [np.searchsorted(known, quality, side) for side in ("left", "right")]
            found[dataset] = (sides[0] + sides[1]) / (2 * len(known))
        return found

    @cached_property
    def _ranks(self) -> dict[str, NDArray[np.int64]]:
        ascending = {dataset: np.sort(self.quality(dataset)) for dataset in self.data_sets}
        return {
            dataset: 1 + len(self) - np.searchsorted(known, self.quality(dataset), "right")
            for dataset, known in ascending.items()
        }

    @property
    def fingerprint(self) -> str:
        """The sha256 of the architectures and their values: the same for equal tables, whatever their files."""
        values = {dataset: column.tolist() for dataset, column in self._values.items()}
        return hashlib.sha256(json.dumps([self.architectures, values]).encode()).hexdigest()

    def ceiling(self) -> Ceiling | None:
        """How far two trainings of the same architectures agree; None where nobody knows."""
        return None

    def ranks(self, dataset: str) -> NDArray[np.int64]:
        """The place of every architecture among all, int64 [A], 1 being the best; equal ones share the better place.

        Raises:
            UserError: the table has no such data set.
        """
        check_data_set(dataset, self._values)
        return self._ranks[dataset]

    def _record(self, index: int) -> Record:
        quality = {dataset: self.quality(dataset) for dataset in self.data_sets}
        return Record(
            index,
            self.architectures[index],
            {dataset: float(column[index]) for dataset, column in self._values.items()},
            {dataset: int(ranks[index]) for dataset, ranks in self._ranks.items()},
            {dataset: float(column.max() - column[index]) for dataset, column in quality.items()},
            self.source,
            {dataset: float(shares[index]) for dataset, shares in self._percentiles.items()},
            self.metric,
        )

    def _checked(self) -> dict[str, int]:
        """The row of every architecture."""
        rows: dict[str, int] = {}
        for row, text in enumerate(self.architectures):
            if not isinstance(text, str):
                raise UserError(f"{self.source}, row {row}: arch must be a string, got {str(text)[:40]!r}")
            try:
                self.notation(text)
            except UserError as problem:
                raise UserError(f"{self.source}, row {row}: {problem}") from problem
            if (first := rows.setdefault(text, row)) != row:
                raise UserError(f"{self.source}, row {row}: {text} is there twice, in row {first} too")
        return rows
