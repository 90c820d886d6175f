"""What a tabular benchmark answers: what an architecture is worth once it is trained on its own.

Legend: A architectures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cnas.errors import UserError


@dataclass(frozen=True)
class Record:
    """What a benchmark knows of one architecture.

    Args:
        index: its number in the benchmark's own order, from 0.
        architecture: its string.
        values: what it reached, by data set: percent, or a perplexity.
        rank: its place among all architectures by data set, 1 being the best; equal values share the better place.
            Empty where the benchmark has read this architecture alone.
        regret: how much it is worse than the best of all, by data set; empty where ``rank`` is.
        source: where the values come from.
        percentile: the share of the connected architectures that are worse, from 0 to 1, those that are as good
            counted by half; by data set, empty where ``rank`` is.
        metric: what ``values`` are, ``test_accuracy`` or ``test_perplexity``.
    """

    index: int
    architecture: str
    values: Mapping[str, float]
    rank: Mapping[str, int]
    regret: Mapping[str, float]
    source: str
    percentile: Mapping[str, float] = field(default_factory=dict)
    metric: str = "test_accuracy"

    @property
    def test_accuracy(self) -> Mapping[str, float]:
        """``values`` of image classifiers: percent, by data set."""
        return self.values

    def on(self, dataset: str) -> dict[str, Any]:
        """What ``result.json`` has under ``benchmark``: one data set's share, and accuracies on all of them.

        Args:
            dataset: one of the keys of ``values``.

        Returns:
            ``dataset``, the metric by its name, ``rank``, ``regret``, ``percentile``, ``index`` and ``source``; where
            there are several data sets ``test_accuracies`` by data set. What is not known is None.

        Raises:
            UserError: the benchmark has no such data set.
        """
        check_data_set(dataset, self.values)
        every = {"test_accuracies": dict(self.values)} if len(self.values) > 1 else {}
        return {
            "dataset": dataset,
            self.metric: self.values[dataset],
            "rank": self.rank.get(dataset),
            "regret": self.regret.get(dataset),
            "percentile": self.percentile.get(dataset),
            **every,
            "index": self.index,
            "source": self.source,
        }


def check_data_set(dataset: str, known: Mapping[str, Any]) -> None:
    """Raise a `UserError` where ``dataset`` is none of those a benchmark knows."""
    if dataset not in known:
        raise UserError(f"dataset must be one of {', '.join(known)}, got {dataset[:40]!r}")
