"""Whether supernets rank architectures at all: what must hold before the other arms of a study are run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from cnas.benchmarks.ranking import kendall_tau, loss_scores
from cnas.benchmarks.tabular import TabularBenchmark
from cnas.errors import UserError
from cnas.studies.figures import RunFigures
from cnas.studies.plan import Gate
from cnas.studies.statistics import paired_difference


@dataclass(frozen=True)
class GateArm:
    """How well an arm of the gate ranks architectures.

    Args:
        taus: Kendall's τ by seed; None where it could not be measured.
        mean: of these; None where one is missing.
        low: lower limit of its 95 % interval: what other seeds would give with the same architectures.
        high: upper limit; None, like the other, below two seeds or where one is missing.
        error: the most that the standard error of the mean can be for the choice of architectures, the same for all
            seeds: the mean of what it is for each. None where nobody knows.
        between_seeds: the mean of Kendall's τ between the rankings of two seeds. Where it is high and τ is not, the
            ranking is no chance, and of something else than what architectures are worth. None below two rankings.
    """

    taus: Mapping[int, float | None]
    mean: float | None
    low: float | None
    high: float | None
    error: float | None
    between_seeds: float | None


@dataclass(frozen=True)
class GateResult:
    """Whether the arms of the gate rank architectures at all.

    Args:
        open: None where runs are missing, so that nobody knows.
        arms: by name.
    """

    open: bool | None
    arms: Mapping[str, GateArm]


def check_ceiling(gate: Gate, benchmark: TabularBenchmark) -> None:
    """Whether two trainings of the table's architectures agree enough to measure anything by.

    Args:
        gate: of the plan.
        benchmark: the table.

    Raises:
        UserError: they do not, or nobody knows.
    """
    if (least := gate.min_ceiling) is not None:
        known = benchmark.ceiling()
        if known is None or known.tau < least:
            found = "nobody knows" if known is None else f"{known.tau:.3f} on {known.architectures} architectures"
            raise UserError(
                f"gate.min_ceiling must be at most what two trainings of the architectures of {benchmark.source} agree "
                f"to ({found}), got {least}"
            )


def decide(gate: Gate, runs: Mapping[str, Mapping[int, RunFigures]]) -> GateResult:
    """The gate, from the runs that are finished.

    Args:
        gate: of the plan.
        runs: by arm and seed.
    """
    arms = {arm: _arm(runs.get(arm, {}), gate.seeds) for arm in gate.arms}
    means = [each.mean for each in arms.values()]
    known = [mean for mean in means if mean is not None]
    return GateResult(all(mean >= gate.min_tau for mean in known) if len(known) == len(means) else None, arms)


def _arm(runs: Mapping[int, RunFigures], seeds: Sequence[int]) -> GateArm:
    taus = {seed: runs[seed].values["kendall_tau"] if seed in runs else None for seed in seeds}
    known = [tau for tau in taus.values() if tau is not None]
    if len(known) < len(taus):
        return GateArm(taus, None, None, None, None, None)
    errors = [error for seed in seeds if (error := runs[seed].tau_error) is not None]
    found = paired_difference(known)
    error, between = fmean(errors) if len(errors) == len(seeds) else None, _between([runs[seed] for seed in seeds])
    return GateArm(taus, found.mean, found.low, found.high, error, between)


def _between(runs: Sequence[RunFigures]) -> float | None:
    """The mean τ of all pairs of runs that have ranked the same architectures."""
    pairs = [(one.losses, other.losses) for one, other in itertools.combinations(runs, 2) if len(one.losses) > 1]
    same = [(one, other) for one, other in pairs if one.keys() == other.keys()]
    taus = [kendall_tau(loss_scores(one.values()), loss_scores(other[name] for name in one)) for one, other in same]
    known = [tau for tau in taus if tau is not None]
    return fmean(known) if known and len(known) == len(taus) else None
