"""Accuracy against K, the number of subnets that score the data (Figure 5 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnas.errors import UserError
from cnas.hub._markdown import name
from cnas.reports.comparison import summarize
from cnas.reports.drawing import BLUE, MUTED, Drawing, finish, legend, new_figure, style
from cnas.runs.result import RunResult


@dataclass(frozen=True)
class KPoint:
    """The runs with one K.

    Args:
        k: how many subnets score the data; 0 is the plain algorithm.
        mean: of the test accuracies, in percent.
        std: their sample standard deviation; None of a single run.
        seeds: of the runs, ascending.
    """

    k: int
    mean: float
    std: float | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class KSweep:
    """Accuracy for each K.

    Args:
        algorithm: of all the runs.
        measure: what the accuracies are, e.g. ``"cifar10, looked up"``.
        points: by ascending K.
    """

    algorithm: str
    measure: str
    points: tuple[KPoint, ...]

    @property
    def plain(self) -> KPoint | None:
        """The runs without a curriculum."""
        return next((point for point in self.points if point.k == 0), None)


def k_sweep(runs: Sequence[str | Path]) -> KSweep:
    """The mean accuracy for each K, over finished runs that differ in K and the seed.

    Args:
        runs: folders whose ``result.json`` has ``benchmark.test_accuracy``, or else ``retrain.test_accuracy``.

    Raises:
        UserError: there is none, one is not finished, or they are not of one algorithm, curriculum and measure.
    """
    if not runs:
        raise UserError("runs must name at least one run folder, got none")
    found = [(folder.name, *_accuracy(folder)) for folder in map(Path, runs)]
    first_name, first, measure, _ = found[0]
    by_k: dict[int, dict[int, float]] = {}
    active = [each.curriculum for _, each, _, _ in found if each.curriculum and each.curriculum.active]
    kinds = sorted({each.kind for each in active})
    if len(kinds) > 1 or not all(each.count for each in active):
        raise UserError(f"runs must be plain or of one curriculum with candidates, got {', '.join(kinds)}")
    for its_name, result, its_measure, accuracy in found:
        if (result.algorithm, its_measure) != (first.algorithm, measure):
            problem = f"{result.algorithm} on {its_measure}, and {first_name} {first.algorithm} on {measure}"
            raise UserError(f"runs must differ in curriculum.k and the seed alone; {its_name} is {problem}")
        k, seed = (result.curriculum.count if result.curriculum else None) or 0, result.seed
        if seed in by_k.setdefault(k, {}):
            raise UserError(f"runs must differ in curriculum.k or the seed; two have k {k} and seed {seed}")
        by_k[k][seed] = accuracy
    sums = [(k, summarize(list(by_seed.values())), by_seed) for k, by_seed in sorted(by_k.items())]
    points = tuple(KPoint(k, summary.mean, summary.std, tuple(sorted(by_seed))) for k, summary, by_seed in sums)
    return KSweep(first.algorithm or "no search", measure, points)


def _accuracy(folder: Path) -> tuple[RunResult, str, float]:
    """(the result, what its accuracy is, percent) of a finished run."""
    result = RunResult.load(folder)
    if result.benchmark is not None and result.benchmark.test_accuracy is not None:
        return result, f"{result.benchmark.dataset}, looked up", result.benchmark.test_accuracy
    if (accuracy := result.metrics("test").get("accuracy")) is not None:
        return result, f"{name(result.dataset.name)}, trained", accuracy
    raise UserError(f"run {folder} has no test accuracy in result.json, under benchmark or retrain")


def draw_k_sweep(sweep: KSweep) -> Drawing:
    """Means with their standard deviations, and the plain algorithm as a line in a band of its own.

    Args:
        sweep: what to draw.
    """
    points = [point for point in sweep.points if point.k]
    with style():
        figure, axes = new_figure()
        if points:
            xs, means = [point.k for point in points], [point.mean for point in points]
            stds = [point.std or 0.0 for point in points]
            axes.errorbar(xs, means, stds, color=BLUE, marker="o", capsize=2, label="curriculum")
            axes.set_xticks(xs)
        if sweep.plain is not None:
            mean, std = sweep.plain.mean, sweep.plain.std or 0.0
            axes.axhline(mean, color=MUTED, linestyle="--", linewidth=1.2, label="plain")
            axes.axhspan(mean - std, mean + std, color=MUTED, alpha=0.15, linewidth=0)
        axes.margins(y=0.15)
        axes.set_xlabel("K, subnets that score the data")
        axes.set_ylabel("test accuracy (%)")
        legend(axes)
        words = "; ".join(map(_in_words, sweep.points))
        title = f"Accuracy against K ({sweep.algorithm}, {sweep.measure})"
        caption = "Bars and band: standard deviation over seeds."
        return finish(figure, "k_sweep", title, f"Mean test accuracy. {words}.", caption)


def _in_words(point: KPoint) -> str:
    name = f"K = {point.k}" if point.k else "plain"
    spread = "" if point.std is None else f" ± {point.std:.2f}"
    seeds = len(point.seeds)
    return f"{name}: {point.mean:.2f}{spread} % over {seeds} seed{'s' if seeds > 1 else ''}"
