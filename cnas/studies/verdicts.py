"""What a study concludes from the figures of its runs, by the rules of its plan alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import get_args

from cnas.studies.plan import Comparison, Measure, Plan
from cnas.studies.statistics import Difference, holm, paired_difference, pairs_needed, power

HELPS, USELESS, UNDECIDED = "helps", "no useful effect", "undecided"
NO_RANKING = "no ranking at this budget"
TITLES = {
    "kendall_tau": "Kendall's τ",
    "within_size": "τ at equal size or count",
    "top_precision": "precision in the best tenth",
    "expected_percentile": "mean percentile of picks",
    "percentile": "percentile of the found",
    "expected_pick": "expected pick",
}
"""What the measures are called in figures and tables."""
MEASURES: tuple[str, ...] = tuple(name for part in get_args(Measure) for name in get_args(part) or (part,))
"""The figures of a run that arms are compared in."""

Figures = Mapping[str, Mapping[int, Mapping[str, float | None]]]
"""By arm and seed, the figures of a finished run; None where one could not be measured."""


@dataclass(frozen=True)
class Against:
    """An arm and one control, seed by seed.

    Args:
        control: the arm that is subtracted.
        seeds: those of the pairs.
        missing: seeds of which one of the two has no figure; nothing is put in their place.
        differences: of the endpoint, in the order of ``seeds``.
        difference: their statistics.
        power: the chance that these pairs, at their spread, show the smallest useful effect; None below two pairs.
        pairs_needed: so many would show it four times out of five; None below two pairs, or where none are enough.
        others: the other measures, by name, of the pairs that have them.
        verdict: on this control alone.
    """

    control: str
    seeds: tuple[int, ...]
    missing: tuple[int, ...]
    differences: tuple[float, ...]
    difference: Difference
    power: float | None
    pairs_needed: int | None
    others: Mapping[str, Difference]
    verdict: str


@dataclass(frozen=True)
class Verdict:
    """What is concluded of one comparison.

    Args:
        arm: of which it is asked whether it helps.
        verdict: the conclusion.
        against: each of its controls.
        p: the largest of their sign-flip tests, since it has to beat all; None where one has no pairs.
        p_holm: ``p`` corrected for the number of exploratory comparisons; None for the first comparison, which is not
            one of them.
        analysis: 1, or 2 after the extension.
    """

    arm: str
    verdict: str
    against: tuple[Against, ...]
    p: float | None
    p_holm: float | None
    analysis: int


@dataclass(frozen=True)
class LevelResult:
    """An arm and a level of the plan.

    Args:
        meaning: what a mean above it shows.
        measure: of the runs.
        above: the level.
        arm: its name.
        n: how many of the plan's first seeds have the measure.
        mean: of these; None without any.
        complete: whether all have it: a level is meant for a mean of so many.
    """

    meaning: str
    measure: str
    above: float
    arm: str
    n: int
    mean: float | None
    complete: bool

    @property
    def reached(self) -> bool | None:
        """Whether the mean is above the level; None where figures are missing."""
        return self.mean > self.above if self.complete and self.mean is not None else None


def conclude(plan: Plan, figures: Figures, decided: Sequence[Verdict] = ()) -> list[Verdict]:
    """The verdicts on all comparisons, in the order of the plan.

    Args:
        plan: with the rules.
        figures: of all runs that are finished.
        decided: the verdicts of the first look, where this is the second: what was decided then stays.
    """
    first: list[Verdict | None] = [*decided] or [None for _ in plan.comparisons]
    found = [
        before if before and before.verdict != UNDECIDED else _verdict(plan, each, figures, 2 if before else 1)
        for each, before in zip(plan.comparisons, first, strict=True)
    ]
    return found[:1] + _corrected(found[1:], 1 - plan.confidence)


def without_runs(plan: Plan, verdict: str) -> list[Verdict]:
    """The same verdict on all comparisons, where the gate let none of their arms run.

    Args:
        plan: of the study.
        verdict: what is said.
    """
    return [Verdict(each.arm, verdict, (), None, None, 1) for each in plan.comparisons]


def levels(plan: Plan, figures: Figures) -> list[LevelResult]:
    """The mean of every arm in the measures that the plan has levels for.

    Args:
        plan: with the levels.
        figures: of all runs that are finished.
    """
    found = []
    for level in plan.levels:
        for arm, seeds in figures.items():
            values = [seeds[seed].get(level.measure) if seed in seeds else None for seed in plan.seeds]
            known = [value for value in values if value is not None]
            mean, whole = fmean(known) if known else None, len(known) == len(values)
            found.append(LevelResult(level.meaning, level.measure, level.above, arm, len(known), mean, whole))
    return found


def rule(difference: Difference, least: float) -> str:
    """The conclusion from one interval.

    Args:
        difference: of an arm and its control.
        least: the smallest useful one.

    Returns:
        ``no useful effect`` where the interval ends below ``least``, though it may be above 0; ``helps`` where it is
        above 0 otherwise; ``undecided`` where it is neither, or there is none.
    """
    if difference.low is None or difference.high is None:
        return UNDECIDED
    if difference.high < least:
        return USELESS
    return HELPS if difference.low > 0 else UNDECIDED


def _verdict(plan: Plan, comparison: Comparison, figures: Figures, analysis: int) -> Verdict:
    seeds = (*plan.seeds, *(plan.extension.seeds if plan.extension and analysis > 1 else ()))
    against = tuple(_against(plan, comparison.arm, control, figures, seeds) for control in comparison.against)
    single = [each.verdict for each in against]
    verdict = USELESS if USELESS in single else HELPS if set(single) == {HELPS} else UNDECIDED
    p_values = [each.difference.p for each in against]
    known = [p for p in p_values if p is not None]
    return Verdict(
        comparison.arm, verdict, against, max(known) if len(known) == len(p_values) else None, None, analysis
    )


def _against(plan: Plan, arm: str, control: str, figures: Figures, seeds: Sequence[int]) -> Against:
    pairs = _pairs(figures, arm, control, plan.endpoint, seeds)
    found = paired_difference(list(pairs.values()), plan.confidence)
    least, spread = plan.rules.no_useful_effect_below, found.sd
    reached = needed = None
    if spread is not None:
        reached = power(least, spread, found.n, plan.confidence)
        needed = pairs_needed(least, spread, plan.confidence)
    others = {
        measure: paired_difference(list(_pairs(figures, arm, control, measure, seeds).values()), plan.confidence)
        for measure in MEASURES
        if measure != plan.endpoint
    }
    return Against(
        control,
        tuple(pairs),
        tuple(seed for seed in seeds if seed not in pairs),
        tuple(pairs.values()),
        found,
        reached,
        needed,
        {measure: difference for measure, difference in others.items() if difference.n},
        rule(found, least),
    )


def _pairs(figures: Figures, arm: str, control: str, measure: str, seeds: Sequence[int]) -> dict[int, float]:
    """By seed the difference of two arms, where both have the measure."""
    found = {}
    for seed in seeds:
        one, other = (figures.get(name, {}).get(seed, {}).get(measure) for name in (arm, control))
        if one is not None and other is not None and math.isfinite(one - other):
            found[seed] = one - other
    return found


def _corrected(verdicts: Sequence[Verdict], alpha: float) -> list[Verdict]:
    """Exploratory verdicts, where an arm helps only if its sign-flip test says so for all of them together."""
    adjusted = holm([1.0 if each.p is None else each.p for each in verdicts])
    return [
        # What was decided at the first look stays.
        each
        if each.p_holm is not None
        else replace(each, p_holm=p, verdict=UNDECIDED if each.verdict == HELPS and p > alpha else each.verdict)
        for each, p in zip(verdicts, adjusted, strict=True)
    ]
