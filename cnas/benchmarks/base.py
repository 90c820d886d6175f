"""What a tabular benchmark answers: the accuracy an architecture reaches once it is trained on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cnas.errors import UserError
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture


@dataclass(frozen=True)
class Record:
    """What a benchmark knows of one architecture.

    Args:
        index: its number in the benchmark's own order, from 0.
        architecture: its string.
        test_accuracy: percent, by data set.
        rank: its place among all architectures by data set, 1 being the best; equal accuracies share the better place.
            Empty where the benchmark has read this architecture alone.
        regret: how many points it is below the best of all, by data set; empty where ``rank`` is.
        source: where the accuracies come from.
    """

    index: int
    architecture: str
    test_accuracy: Mapping[str, float]
    rank: Mapping[str, int]
    regret: Mapping[str, float]
    source: str

    def on(self, dataset: str) -> dict[str, Any]:
        """What ``result.json`` has under ``benchmark``: one data set's share, and the accuracies on all of them.

        Args:
            dataset: one of the keys of ``test_accuracy``.

        Returns:
            ``dataset``, ``test_accuracy``, ``rank``, ``regret``, ``test_accuracies`` by data set, ``index`` and
            ``source``; ``rank`` and ``regret`` are None where they are not known.

        Raises:
            UserError: the benchmark has no such data set.
        """
        check_data_set(dataset, self.test_accuracy)
        return {
            "dataset": dataset,
            "test_accuracy": self.test_accuracy[dataset],
            "rank": self.rank.get(dataset),
            "regret": self.regret.get(dataset),
            "test_accuracies": dict(self.test_accuracy),
            "index": self.index,
            "source": self.source,
        }


class Benchmark(Protocol):
    """Answers for architectures instead of training them."""

    def query(self, architecture: Architecture | str) -> Record:
        """What is known of an architecture.

        Args:
            architecture: of the benchmark's space, or its string. Isomorphic ones are different entries.

        Raises:
            UserError: it is none of the benchmark's.
        """

    def best(self, dataset: str) -> Record:
        """The architecture with the highest test accuracy on a data set; the first of several.

        Raises:
            UserError: the benchmark has no such data set.
        """

    def covers(self, space: SearchSpace) -> bool:
        """Whether the architectures of a space are those of the benchmark."""


def check_data_set(dataset: str, known: Mapping[str, Any]) -> None:
    """Raise a `UserError` where ``dataset`` is none of those a benchmark knows."""
    if dataset not in known:
        raise UserError(f"dataset must be one of {', '.join(known)}, got {dataset[:40]!r}")
