"""Found cells beside random ones of the same space that had the same training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnas.compare.comparable import incomparable
from cnas.compare.groups import Group
from cnas.compare.runs import FinishedRun
from cnas.compare.statistics import Summary

ENOUGH = 3
"""Fewer random cells than this say little about a search."""


@dataclass(frozen=True)
class AgainstRandom:
    """How a searched group stands to the random cells of its space.

    Args:
        found: the searched runs.
        random: the random cells; None where there are none of this space.
        obstacles: why the two may not be compared; empty where they may.
    """

    found: Group
    random: Group | None
    obstacles: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """Whether there is something to compare with, and it may be compared."""
        return self.random is not None and not self.obstacles

    @property
    def mean(self) -> Summary:
        """Test perplexities of the random cells in short."""
        assert self.random is not None
        return self.random.test

    @property
    def best(self) -> FinishedRun:
        """The random cell that is best on the validation text, as one would choose it."""
        assert self.random is not None
        return min(self.random.runs, key=lambda run: run.valid)

    @property
    def beats_mean(self) -> bool:
        """Whether the mean test perplexity of the found cells is below that of the random ones."""
        return self.comparable and self.found.test.mean < self.mean.mean

    @property
    def beats_best(self) -> bool:
        """Whether the mean test perplexity of the found cells is below that of the best random one."""
        return self.comparable and self.found.test.mean < self.best.test


def against_random(groups: Sequence[Group]) -> list[AgainstRandom]:
    """Every searched group beside the random cells of its space; those of the same training where there are several.

    Args:
        groups: as `group_runs` returns them, random ones among them.
    """
    return [_against(group, groups) for group in groups if group.searched]


def _against(found: Group, groups: Sequence[Group]) -> AgainstRandom:
    random = [group for group in groups if group.random and group.space == found.space]
    reasons = [tuple(incomparable([found, group])) for group in random]
    for group, obstacles in zip(random, reasons, strict=True):
        if not obstacles:
            return AgainstRandom(found, group)
    return AgainstRandom(found, random[0], reasons[0]) if random else AgainstRandom(found, None)
