"""The weights v that the curriculum gave: over the epochs, and of every training unit in the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cnas.reports._drawing import (
    BLUE,
    GREEN,
    MUTED,
    RED,
    WIDTH,
    Drawing,
    course,
    epochs_axis,
    finish,
    legend,
    line,
    new_figure,
    tidy,
)
from cnas.reports.curves import points
from cnas.reports.record import RunRecord

_BINS = 40


@dataclass(frozen=True)
class Sample:
    """One unit of the training data and its weight.

    Args:
        unit: its number.
        weight: v.
        text: what it says; of a token, the words before it.
        marked: the token itself, where a unit is one token; else empty.
        picture: a PNG file, where the unit is an image; else empty.
    """

    unit: int
    weight: float
    text: str
    marked: str = ""
    picture: bytes = b""


@dataclass(frozen=True)
class SampleWeights:
    """What the last checkpoint of a search knows of its training data.

    Args:
        epoch: after which they were saved.
        values: float64 [U], the weight of every unit.
        heaviest: the units with the largest weights, those first.
        lightest: the units with the smallest weights, those first.
        note: why there are no samples; empty where there are.
    """

    epoch: int
    values: NDArray[np.float64]
    heaviest: tuple[Sample, ...] = ()
    lightest: tuple[Sample, ...] = ()
    note: str = ""


def draw_weights(record: RunRecord) -> list[Drawing]:
    """Smallest, median and largest weight over the epochs, and the effective sample size."""
    found = [_draw_range(record), _draw_effective_size(record)]
    return [drawing for drawing in found if drawing is not None]


def _draw_range(record: RunRecord) -> Drawing | None:
    rows = record.phase("search")
    curves = {key: points(rows, f"weight_{key}") for key in ("max", "median", "min")}
    if not any(curves.values()):
        return None
    figure, axes = new_figure()
    low, high = dict(curves["min"]), dict(curves["max"])
    both = sorted(low.keys() & high.keys())
    axes.fill_between(both, [low[x] for x in both], [high[x] for x in both], color=BLUE, alpha=0.12, linewidth=0)
    for found, label, colour in zip(
        curves.values(), ("largest", "median", "smallest"), (RED, BLUE, GREEN), strict=True
    ):
        line(axes, found, label, colour)
    axes.axhline(1, color=MUTED, linestyle=":", linewidth=1.2, label="v = 1: no curriculum")
    axes.margins(y=0.08)
    epochs_axis(axes, "weight v")
    legend(axes)
    words = "; ".join(f"{label} {course(found, 3)}" for label, found in curves.items() if found)
    return finish(figure, "weights", "Weights over the epochs", f"Curriculum weights: {words}.")


def _draw_effective_size(record: RunRecord) -> Drawing | None:
    found = points(record.phase("search"), "effective_sample_size")
    if not found:
        return None
    shares = [(epoch, 100 * value) for epoch, value in found]
    figure, axes = new_figure()
    line(axes, shares, "effective sample size", GREEN)
    low = min(value for _, value in shares)
    axes.set_ylim(min(100 - 1.3 * (100 - low), 99.5), 100 + 0.1 * max(100 - low, 0.5))
    figure.subplots_adjust(left=0.7 / WIDTH)
    epochs_axis(axes, "% of the units")
    words = f"(Σv)²/Σv² as a share of the training units: {course(shares)} %."
    return finish(
        figure,
        "effective_sample_size",
        "Effective sample size",
        words,
        "100 % means that every sample weighs the same.",
    )


def draw_histogram(weights: SampleWeights, unit: str) -> Drawing:
    """How many units have which weight.

    Args:
        weights: with at least one value.
        unit: what a weight belongs to, in the plural.
    """
    values = weights.values
    figure, axes = new_figure(2.4)
    low, high = float(values.min()), float(values.max())
    # Weights that are all alike still need a bin of some width.
    edges = np.linspace(low, high, min(_BINS, max(5, len(values) // 5)) + 1) if high > low else [low - 0.05, low + 0.05]
    axes.hist(values, bins=edges, color=BLUE, alpha=0.75, linewidth=0)  # type: ignore[arg-type]
    axes.axvline(1, color=MUTED, linestyle=":", linewidth=1.2)
    axes.set_xlabel("weight v")
    axes.set_ylabel(unit)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    tidy(axes)
    quantiles = [float(value) for value in np.quantile(values, (0.05, 0.5, 0.95))]
    words = (
        f"A histogram of the weights of {len(values):,} {unit}: from {low:.3g} to {high:.3g}, "
        f"median {quantiles[1]:.3g}, nine in ten between {quantiles[0]:.3g} and {quantiles[2]:.3g}."
    )
    title = f"Weights of all {unit}, as of epoch {weights.epoch}"
    return finish(figure, "weight_histogram", title, words, f"{len(values):,} {unit}.")
