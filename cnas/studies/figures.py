"""What a study reads of a finished run: how well its supernet ranks, what it found, and what that took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnas.benchmarks import supernet_ranking
from cnas.runs.rankings import load_rankings
from cnas.runs.result import RunResult
from cnas.studies.verdicts import MEASURES

PUBLISHED = "published"
"""The scoring whose ranking ``result.json`` has."""


@dataclass(frozen=True)
class RunFigures:
    """The figures of one finished run.

    Args:
        values: by measure; None where one could not be measured.
        tau_error: the standard error of Kendall's τ that comes of which architectures were ranked.
        picks: of so many random architectures the expected pick is the best by score.
        curve: (epoch, Kendall's τ) of every ranking by the scoring of the plan; epoch 0 is before the first.
        seconds: of the search, without what rankings took.
        epochs: of the search.
        device: on which it ran.
        baselines: what costs nothing to reach, as ``result.json`` has them.
        losses: of the last ranking, by architecture.
    """

    values: Mapping[str, float | None]
    tau_error: float | None
    picks: int | None
    curve: tuple[tuple[int, float], ...]
    seconds: float | None
    epochs: int | None
    device: str | None
    baselines: tuple[Mapping[str, Any], ...]
    losses: Mapping[str, float]


def read_figures(folder: Path, benchmark: Any, scoring: str) -> RunFigures:
    """Read the figures of a finished run.

    Args:
        folder: of the run.
        benchmark: the table that its architectures are ranked against.
        scoring: of the plan.

    Raises:
        UserError: the run is not finished, or a file is not what a run writes.
    """
    result = RunResult.load(folder)
    record = result.benchmark.to_json() if result.benchmark else {}
    rated = [each for each in load_rankings(folder) if each.scoring == scoring and len(each.losses) > 1 and record]
    rankings = {each.epoch: asdict(supernet_ranking(each.losses, benchmark, record["dataset"])) for each in rated}
    last = rankings[max(rankings)] if rankings else record if scoring == PUBLISHED else {}
    taus = {epoch: ranking["kendall_tau"] for epoch, ranking in sorted(rankings.items())}
    return RunFigures(
        {measure: last.get(measure, record.get(measure) if measure == "percentile" else None) for measure in MEASURES},
        last.get("tau_error"),
        last.get("picks"),
        tuple((epoch, tau) for epoch, tau in taus.items() if tau is not None),
        result.search.seconds if result.search else None,
        result.search.epochs if result.search else None,
        result.environment.get("device"),
        tuple(record.get("baselines", ())),
        rated[-1].losses if rated else {},
    )
