"""Which runs may be compared (same kind, data, size of the network, training), and found cells beside random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cnas.reports.comparison.groups import TRAINING, Group, Summary, identity, summarize
from cnas.reports.comparison.runs import FinishedRun, Measure

SEARCH = (
    "used.search",
    "trainer.num_train_epochs",
    "trainer.global_batch_size",
    "space.hidden_size",
    "space.nodes",
    "space.channels",
    "space.cells",
)
"""What a search costs, and how much of the data it sees."""
METRIC = ("metric",)
NAMED = 2
"""So many groups are named for each value of a field that differs."""
ENOUGH = 3
"""With fewer random cells than this, the comparison is noted as weak."""


def incomparable(groups: Sequence[Group]) -> list[str]:
    """The fields of data, network and training in which groups differ, each with its values; none if they compare.

    Example: ``network.hidden_size is 120 (enas on enas_rnn, plain), 160 (darts_v1 on darts_rnn, plain)``. Of groups
    that are not measured alike, that alone is named: ``metric is perplexity (…), accuracy (…)``.
    """
    return _differences(groups, METRIC.__contains__) or _differences(groups, _of_training)


def unequal_searches(groups: Sequence[Group]) -> list[str]:
    """The fields in which the searches among ``groups`` did not have the same budget; none across kinds of data."""
    searched = [group for group in groups if group.searched]
    return [] if _differences(searched, METRIC.__contains__) else _differences(searched, SEARCH.__contains__)


def _of_training(name: str) -> bool:
    first = name.split(".", maxsplit=1)[0]
    if first == "used":
        return name != "used.search"
    return first in {"retrain", "network", "data", "benchmark_metrics"} or name in TRAINING


def _differences(groups: Sequence[Group], counts: Callable[[str], bool]) -> list[str]:
    fields = [(group, identity(group.runs[0])) for group in groups]
    names = sorted({name for _, own in fields for name in own if counts(name)})
    found = []
    for name in names:
        labels: dict[str, list[str]] = {}
        for group, own in fields:
            labels.setdefault(own.get(name, "none"), []).append(group.label)
        if len(labels) > 1:
            found.append(f"{name} is " + ", ".join(f"{value} ({_short(who)})" for value, who in labels.items()))
    return found


def _short(labels: Sequence[str]) -> str:
    rest = len(labels) - NAMED
    return "; ".join(labels[:NAMED]) + (f"; {rest} more" if rest > 0 else "")


@dataclass(frozen=True)
class AgainstRandom:
    """A searched group compared with the random cells of its space in one measure.

    Args:
        found: the searched runs.
        measure: by which the cells are compared.
        random: the random cells; None where there are none of this space.
        obstacles: why the two may not be compared; empty where they may.
    """

    found: Group
    measure: Measure
    random: Group | None
    obstacles: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """Whether there is something to compare with, and it may be compared."""
        return self.random is not None and not self.obstacles

    @property
    def reached(self) -> Summary:
        """The measure of the found cells in short."""
        return summarize(self.found.values(self.measure))

    @property
    def mean(self) -> Summary:
        """The measure of the random cells in short."""
        assert self.random is not None
        return summarize(self.random.values(self.measure))

    @property
    def best(self) -> FinishedRun:
        """The random cell that one would choose: the best on validation data, or where there is none, the best."""
        assert self.random is not None
        by = self.measure.chosen_on or self.measure
        runs = [run for run in self.random.runs if self.measure in run.figures and by in run.figures]
        return (max if by.higher else min)(runs, key=lambda run: run.figures[by])

    @property
    def better_than(self) -> int:
        """How many of the random cells are worse than the mean of the found ones."""
        if not self.comparable:
            return 0
        assert self.random is not None
        return sum(self.measure.beats(self.reached.mean, each) for each in self.random.values(self.measure))


def against_random(groups: Sequence[Group]) -> list[AgainstRandom]:
    """Compare every searched group with the random cells of its space, in each of its primary measures.

    Where there are several groups of random cells, it is those of the same training.

    Args:
        groups: as `group_runs` returns them, random ones among them.
    """
    found = [group for group in groups if group.searched]
    measures = dict.fromkeys(measure for group in found for run in group.runs for measure in run.primary_measures)
    return [_against(group, measure, groups) for measure in measures for group in found if group.values(measure)]


def _against(found: Group, measure: Measure, groups: Sequence[Group]) -> AgainstRandom:
    random = [group for group in groups if group.random and group.space == found.space]
    reasons = [tuple(_obstacles(found, measure, group)) for group in random]
    for group, obstacles in zip(random, reasons, strict=True):
        if not obstacles:
            return AgainstRandom(found, measure, group)
    return AgainstRandom(found, measure, *((random[0], reasons[0]) if random else (None,)))


def _obstacles(found: Group, measure: Measure, random: Group) -> list[str]:
    return incomparable([found, random]) or (
        [] if random.values(measure) else [f"random {found.part}s lack the {measure.name}"]
    )
