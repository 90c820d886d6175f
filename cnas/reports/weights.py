"""The weights v that the curriculum gave: over the epochs, and of every training unit in the last checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from cnas.errors import CheckpointError, UserError
from cnas.reports import drawing
from cnas.reports.drawing import BLUE, GREEN, MUTED, RED, WIDTH, Curve, Drawing, course, points
from cnas.reports.record import RunRecord, formatted
from cnas.runs.config import RunConfig
from cnas.runs.folder import RunFolder
from cnas.runs.task import SampleView, Task, load_task
from cnas.training import checkpoint

_BINS = 40
LISTED = 6
"""So many of the heaviest units, and of the lightest, are shown."""

Unit = tuple[int, SampleView]


@dataclass(frozen=True)
class SampleWeights:
    """The sample weights in the last checkpoint of a search.

    Args:
        epoch: after which they were saved.
        values: float64 [U], the weight of every unit.
        heaviest: (number, what it is) of the units with the largest weights, those first.
        lightest: of the units with the smallest weights, those first.
        note: why there are no units; empty where there are.
    """

    epoch: int
    values: NDArray[np.float64]
    heaviest: tuple[Unit, ...] = ()
    lightest: tuple[Unit, ...] = ()
    note: str = ""


def sample_weights(record: RunRecord, task: Task | None = None) -> SampleWeights | None:
    """The sample weights in a run's last checkpoint; None where there is no curriculum.

    Args:
        record: of the run.
        task: its data, where the caller has read them already.
    """
    if not record.curriculum:
        return None
    try:
        loaded = checkpoint.load_newest(record.path / "checkpoints" / "search")
    except (CheckpointError, UserError) as problem:
        note = f"The weights of single samples are not shown: {formatted(problem, [record])}."
        return SampleWeights(0, np.empty(0), note=note)
    match loaded.state if loaded else {}:
        case {"position": {"epoch": int(epoch)}, "curriculum": {"v": Tensor() as v}} if v.numel():
            values_U = v.double().numpy()
        case _:
            return None
    try:
        heaviest, lightest = _samples(record, v, task)
    except UserError as problem:
        note = f"The samples behind the weights are not shown: {formatted(problem, [record])}."
        return SampleWeights(epoch, values_U, note=note)
    if float(v.max()) == float(v.min()):
        return SampleWeights(epoch, values_U, note="All samples have the same weight so far.")
    return SampleWeights(epoch, values_U, heaviest, lightest)


def _samples(record: RunRecord, v: Tensor, task: Task | None) -> list[tuple[Unit, ...]]:
    """The heaviest and the lightest units."""
    config = RunConfig.from_json(dict(record.config))
    task = task or load_task(config)
    _same_data(record, config, task.fingerprint)
    units = task.search_data().train.num_units
    if units != len(v):
        raise UserError(f"the data has {units} units and the checkpoint {len(v)} weights")
    order = torch.argsort(v, stable=True).tolist()
    count = min(LISTED, len(order) // 2)
    heaviest, lightest = order[::-1][:count], order[:count]
    found = task.sample_views({*heaviest, *lightest})
    return [tuple((unit, found[unit]) for unit in units) for units in (heaviest, lightest)]


def _same_data(record: RunRecord, config: RunConfig, fingerprint: str) -> None:
    """Raise where the data is not what was searched on."""
    known, folder = RunFolder(record.path).fingerprint(), record.path / "checkpoints" / "search"
    if known not in (None, fingerprint):
        raise UserError(f"the data has changed: its fingerprint was {known}, now {fingerprint}")
    if not record.search:  # the search is not over: its checkpoints must be of this configuration
        checkpoint.load_newest(folder, config_hash=f"{config.hash}-{fingerprint}")


def draw_weights(record: RunRecord) -> list[Drawing]:
    """Smallest, median and largest weight over the epochs, and the effective sample size."""
    found = [_draw_range(record), _draw_effective_size(record)]
    return [each for each in found if each is not None]


def _draw_range(record: RunRecord) -> Drawing | None:
    rows = record.phase("search")
    known = [("max", "largest", RED), ("median", "median", BLUE), ("min", "smallest", GREEN)]
    curves = {key: Curve(label, points(rows, f"weight_{key}"), colour) for key, label, colour in known}
    if not all(curve.points for curve in curves.values()):
        return None
    figure, axes = drawing.plot([*curves.values()], "weight v", level=(1, "v = 1: no curriculum"))
    low, high = dict(curves["min"].points), dict(curves["max"].points)
    both = sorted(low.keys() & high.keys())
    axes.fill_between(both, [low[x] for x in both], [high[x] for x in both], color=BLUE, alpha=0.12, linewidth=0)
    axes.margins(y=0.08)
    words = "; ".join(f"{key} {course(curve.points, 3)}" for key, curve in curves.items())
    return drawing.finish(figure, "weights", "Weights over the epochs", f"Curriculum weights: {words}.")


def _draw_effective_size(record: RunRecord) -> Drawing | None:
    found = [(epoch, 100 * value) for epoch, value in points(record.phase("search"), "effective_sample_size")]
    if not found:
        return None
    figure, axes = drawing.plot([Curve("effective sample size", found, GREEN)], "% of the units", columns=0)
    low = min(value for _, value in found)
    axes.set_ylim(min(100 - 1.3 * (100 - low), 99.5), 100 + 0.1 * max(100 - low, 0.5))
    figure.subplots_adjust(left=0.7 / WIDTH)
    words = f"(Σv)²/Σv² as a share of the training units: {course(found)} %."
    caption = "100 % means that every sample has the same weight."
    return drawing.finish(figure, "effective_sample_size", "Effective sample size", words, caption)


def draw_histogram(weights: SampleWeights, unit: str) -> Drawing:
    """How many units have which weight.

    Args:
        weights: with at least one value.
        unit: what a weight belongs to, in the plural.
    """
    values = weights.values
    figure, axes = drawing.new_figure(2.4)
    low, high = float(values.min()), float(values.max())
    # Weights that are all alike still need a bin of some width.
    edges = np.linspace(low, high, min(_BINS, max(5, len(values) // 5)) + 1) if high > low else [low - 0.05, low + 0.05]
    axes.hist(values, bins=edges, color=BLUE, alpha=0.75, linewidth=0)  # type: ignore[arg-type]
    axes.axvline(1, color=MUTED, linestyle=":", linewidth=1.2)
    axes.set_xlabel("weight v")
    axes.set_ylabel(unit)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    quantiles = [float(value) for value in np.quantile(values, (0.05, 0.5, 0.95))]
    words = (
        f"A histogram of the weights of {len(values):,} {unit}: from {low:.3g} to {high:.3g}, "
        f"median {quantiles[1]:.3g}, nine in ten between {quantiles[0]:.3g} and {quantiles[2]:.3g}."
    )
    title = f"Weights of all {unit}, as of epoch {weights.epoch}"
    return drawing.finish(figure, "weight_histogram", title, words, f"{len(values):,} {unit}.")
