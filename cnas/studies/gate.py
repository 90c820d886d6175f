"""Whether supernets rank architectures at all: what must hold before the other arms of a study are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from cnas.benchmarks.tabular import TabularBenchmark
from cnas.errors import UserError
from cnas.studies.figures import RunFigures
from cnas.studies.plan import Gate
from cnas.studies.statistics import Difference, paired_difference


@dataclass(frozen=True)
class GateArm:
    """How well an arm of the gate ranks architectures.

    Args:
        taus: Kendall's τ by seed; None where it could not be measured.
        over_seeds: their mean, and its 95 % interval: what other seeds would give with the same architectures.
        error: the standard error of the mean that comes of which architectures are ranked, the same for all seeds, so
            that more seeds do not lessen it; None where nobody knows.
    """

    taus: Mapping[int, float | None]
    over_seeds: Difference
    error: float | None

    @property
    def mean(self) -> float | None:
        """The mean τ; None where a seed is missing."""
        return None if None in self.taus.values() else self.over_seeds.mean


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
    # The same architectures with every seed: as if all errors were one.
    errors = [error for seed in seeds if seed in runs and (error := runs[seed].tau_error) is not None]
    known = [tau for tau in taus.values() if tau is not None]
    return GateArm(taus, paired_difference(known), fmean(errors) if len(errors) == len(seeds) else None)
