"""Pictures of a run: how well it learned, and which weights the curriculum gave."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from cnas.hub._finite import is_finite

Row = dict[str, Any]
Lines = list[tuple[str, str, list[tuple[float, float]]]]
"""(label, colour, points) of each curve."""

# Blue, vermilion and green of Okabe & Ito (2008), told apart by colour-blind readers too.
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"

_TITLES = {"search": "Search (shared weights)", "retrain": "Retraining (found cell)"}
_THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.10g}")
_DPI = 150


def draw_figures(rows: Sequence[Row], folder: str | Path) -> list[Path]:
    """Draw what the rows of ``metrics.jsonl`` allow.

    ``learning_curve.png`` has one panel per phase, with training and validation: perplexities on a log axis, or the
    losses of what is measured by its accuracy. ``sample_weights.png`` has the smallest, median and largest curriculum
    weight of every epoch. Missing keys, and values that are not finite, leave gaps; a figure with nothing in it is not
    drawn.

    Args:
        rows: ``phase`` and ``epoch``, and any of ``train_loss``, ``valid_loss``, ``valid_perplexity``,
            ``valid_accuracy``, ``weight_min``, ``weight_median``, ``weight_max``, ``effective_sample_size``. Losses are
            in nats per word or image, the effective sample size is a share of the units.
        folder: where the PNGs go; made if it is not there.

    Returns:
        The files written.
    """
    figures = {"learning_curve.png": _learning_curve(rows), "sample_weights.png": _sample_weights(rows)}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures.items():
        if figure is not None:
            FigureCanvasAgg(figure).print_figure(folder / name, dpi=_DPI)
            written.append(folder / name)
    return written


def _learning_curve(rows: Sequence[Row]) -> Figure | None:
    phases = {phase: [row for row in rows if row.get("phase") == phase] for phase in _TITLES}
    # The exponential of a loss is a perplexity of words; of images it is nothing that anyone reads.
    classifies = any(_finite(row.get("valid_accuracy")) for row in rows)
    curves, unit = (_losses, "loss (nats)") if classifies else (_perplexities, "perplexity per word")
    drawn = {phase: lines for phase, found in phases.items() if (lines := curves(found))}
    if not drawn:
        return None
    figure = Figure(figsize=(4.2 * len(drawn), 3.2), layout="constrained")
    for axes, (phase, lines) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        for label, colour, points in lines:
            _line(axes, points, label, colour)
        if not classifies:
            _log_axis(axes, [value for _, _, points in lines for _, value in points])
        _label(axes, _TITLES[phase], unit)
        axes.legend(frameon=False, fontsize=9)
    return figure


def _losses(rows: Sequence[Row]) -> Lines:
    found = (("training", BLUE, "train_loss"), ("validation", RED, "valid_loss"))
    lines = [
        (label, colour, _points(rows, lambda row, key=key: row.get(key)))  # type: ignore[misc] # bound early on purpose
        for label, colour, key in found
    ]
    return [line for line in lines if line[2]]


def _perplexities(rows: Sequence[Row]) -> Lines:
    lines = [
        ("training (with dropout)", BLUE, _points(rows, lambda row: _exp(row.get("train_loss")))),
        (
            "validation",
            RED,
            _points(rows, lambda row: row.get("valid_perplexity", _exp(row.get("valid_loss")))),
        ),
    ]
    return [line for line in lines if line[2]]


def _sample_weights(rows: Sequence[Row]) -> Figure | None:
    columns = {
        key: _points(rows, lambda row, key=key: row.get(key))  # type: ignore[misc] # bound early on purpose
        for key in ("weight_min", "weight_median", "weight_max", "effective_sample_size")
    }
    shares = [(epoch, 100 * share) for epoch, share in columns["effective_sample_size"]]
    if not any(columns[key] for key in ("weight_min", "weight_median", "weight_max")):
        return None
    panels = 2 if shares else 1
    figure = Figure(figsize=(5.2, 2.0 + 1.5 * panels), layout="constrained")
    panel = figure.subplots(panels, 1, squeeze=False, sharex=True, height_ratios=[2, 1][:panels])[:, 0]
    _weights_panel(panel[0], columns)
    _label(panel[0], "Curriculum weights of the training units", "weight v", panels == 1)
    if panels == 2:
        _line(panel[1], shares, "effective sample size", GREEN)
        panel[1].ticklabel_format(axis="y", useOffset=False)
        _label(panel[1], "", "effective sample\nsize (% of units)")
    return figure


def _weights_panel(axes: Axes, columns: dict[str, list[tuple[float, float]]]) -> None:
    low, high = dict(columns["weight_min"]), dict(columns["weight_max"])
    both = sorted(low.keys() & high.keys())
    axes.fill_between(both, [low[x] for x in both], [high[x] for x in both], color=BLUE, alpha=0.12, linewidth=0)
    for key, label, colour in (("max", "largest", RED), ("median", "median", BLUE), ("min", "smallest", GREEN)):
        _line(axes, columns[f"weight_{key}"], label, colour)
    axes.axhline(1, color=GREY, linestyle="--", linewidth=1, label="v = 1 (no curriculum)")
    axes.legend(frameon=False, fontsize=9, ncols=2)
    axes.margins(y=0.25)


def _points(rows: Sequence[Row], value: Callable[[Row], Any]) -> list[tuple[float, float]]:
    """(epoch, value) wherever both are finite numbers."""
    pairs = [(row.get("epoch"), value(row)) for row in rows]
    return [(x, y) for x, y in pairs if _finite(x) and _finite(y)]  # type: ignore[misc] # checked by _finite


def _finite(value: Any) -> bool:
    return is_finite(value)


def _exp(loss: Any) -> float | None:
    return math.exp(loss) if _finite(loss) and loss < 700 else None


def _line(axes: Axes, points: list[tuple[float, float]], label: str, colour: str) -> None:
    # Few epochs are shown as points too: a line of one point would be invisible.
    marker = "o" if len(points) <= 20 else None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    axes.plot(xs, ys, label=label, color=colour, marker=marker, markersize=3.5, linewidth=1.6)


def _log_axis(axes: Axes, values: list[float]) -> None:
    axes.set_yscale("log")
    # A log locator has too few ticks where all values are alike.
    narrow = max(values) < 5 * min(values)
    axes.yaxis.set_major_locator(MaxNLocator(5) if narrow else LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(_THOUSANDS)
    axes.yaxis.set_minor_formatter(NullFormatter())


def _label(axes: Axes, title: str, unit: str, bottom: bool = True) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_ylabel(unit, fontsize=10)
    if bottom:
        axes.set_xlabel("epoch", fontsize=10)
    left, right = axes.get_xlim()
    if right - left < 1:  # a single epoch
        axes.set_xlim(round(left) - 0.5, round(left) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
