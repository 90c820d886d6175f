"""The common look of all figures, and their way into files and into a page.

A figure is drawn once, in the colours of a light page, and saved as PNG and SVG. The copy inside the page has those
colours replaced by variables of its style sheet, so that it follows the reader's light or dark mode.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

PAPER, INK, MUTED, GRID = "#fefefe", "#1f2328", "#59636e", "#dfe3e8"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#b5599a", "#b98900", "#3d9fd8", "#7a8b1c", "#7d8590")
"""After Okabe & Ito (2008), distinguished by colour-blind readers too; a few darkened to be read on white."""
BLUE, RED, GREEN, *_ = SERIES

VARIABLES = {
    PAPER: "--paper",
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    **{colour: f"--series-{index}" for index, colour in enumerate(SERIES, 1)},
}
"""The variable of the style sheet for each colour."""

WIDTH = 4.3
"""Inches: at a telephone's width the letters are still of their size."""

LARGEST = 1e100
"""An axis does not take much larger values."""

Points = Sequence[tuple[float, float]]

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.2,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 1.5,
    "legend.columnspacing": 1.2,
    "legend.labelspacing": 0.25,
    "legend.borderpad": 0.1,
    "legend.borderaxespad": 0,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "savefig.dpi": 150,
    "text.parse_math": False,
    # Letters stay letters, and equal figures give equal bytes.
    "svg.fonttype": "none",
    "svg.hashsalt": "cnas",
}
_THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.10g}")

style = partial(mpl.rc_context, _STYLE)
"""The look of all figures, as a context or a decorator; what is created inside keeps it."""


@dataclass(frozen=True)
class Drawing:
    """A figure that can be saved, and shown in a page.

    Args:
        name: tells it from the run's other figures.
        title: stands above it.
        alternative: says in words what it shows, for those who do not see it.
        caption: stands below it; may be empty.
        svg: as it is saved.
        png: as it is saved.
    """

    name: str
    title: str
    alternative: str
    caption: str
    svg: str
    png: bytes

    def save(self, folder: Path, name: str) -> None:
        """Write ``name.svg`` and ``name.png``, and the folder where there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.svg").write_text(self.svg, "utf-8")
        (folder / f"{name}.png").write_bytes(self.png)

    def inline(self, prefix: str) -> str:
        """The ``<svg>`` element for a page whose other elements do not begin their ids with ``prefix``."""
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
        body = re.sub(r'\bid="', f'id="{prefix}-', body).replace("xlink:href", "href")
        body = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", body)
        for colour, variable in VARIABLES.items():
            body = body.replace(colour, f"var({variable})")
        label = html.escape(self.alternative)
        size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', body)
        assert size
        width, height = (round(float(side) * 4 / 3) for side in size.groups())
        head = f'<svg role="img" aria-label="{label}" width="{width}" height="{height}" viewBox="{size[0][9:-1]}">'
        return head + body[body.index(">") + 1 :].strip()


def new_figure(height: float = 2.6) -> tuple[Figure, Axes]:
    """A figure of the common width and the axes in it; ``height`` is in inches."""
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_subplot()
    inch = 1 / height
    figure.subplots_adjust(left=0.62 / WIDTH, right=1 - 0.12 / WIDTH, bottom=0.45 * inch, top=1 - 0.1 * inch)
    return figure, axes


def finish(figure: Figure, name: str, title: str, alternative: str, caption: str = "") -> Drawing:
    """The figure as `Drawing`."""
    svg, png = io.StringIO(), io.BytesIO()
    # The width stays what it is: beside each other, figures have letters of one size.
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", metadata={"Software": None})
    return Drawing(name, title, alternative, caption, svg.getvalue(), png.getvalue())


@dataclass(frozen=True)
class Curve:
    """A line of a figure.

    Args:
        label: in the legend.
        points: (epoch, value), at least one.
        colour: of the line.
        dashed: whether it is broken.
    """

    label: str
    points: Points
    colour: str
    dashed: bool = False

    def draw(self, axes: Axes) -> None:
        """Draw it; few points are marked, because a line of one would be invisible."""
        xs, ys = zip(*self.points, strict=True)
        marker, dash = "o" if len(xs) <= 20 else None, "--" if self.dashed else "-"
        axes.plot(xs, ys, label=self.label, color=self.colour, linestyle=dash, marker=marker)


def points(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """(epoch, value) of every row of ``metrics.jsonl`` that has the value, and one that can be drawn."""
    return [(row["epoch"], row[key]) for row in rows if row.get(key) is not None and abs(row[key]) < LARGEST]


def plot(
    curves: Sequence[Curve],
    unit: str,
    *,
    height: float = 2.6,
    log: bool = False,
    level: tuple[float, str] | None = None,
    columns: int = 2,
) -> tuple[Figure, Axes]:
    """Curves over epochs.

    Args:
        curves: at least one.
        unit: label of the ordinate.
        height: in inches, without the legend.
        log: whether the ordinate is logarithmic.
        level: (value, label) of a dotted line.
        columns: of the legend; 0 leaves it out.
    """
    figure, axes = new_figure(height)
    for curve in curves:
        curve.draw(axes)
    if level is not None:
        axes.axhline(level[0], color=MUTED, linestyle=":", linewidth=1.2, label=level[1])
    if log:
        log_axis(axes, [value for curve in curves for _, value in curve.points])
    epochs_axis(axes, unit)
    if columns:
        legend(axes, columns)
    return figure, axes


def in_words(curves: Sequence[Curve], digits: int = 4) -> str:
    """How each curve runs."""
    return "; ".join(f"{curve.label} {course(curve.points, digits)}" for curve in curves)


def epochs_axis(axes: Axes, unit: str, *, bottom: bool = True) -> None:
    """Label an axes whose abscissa counts epochs."""
    axes.set_ylabel(unit)
    if bottom:
        axes.set_xlabel("epoch")
    left, right = axes.get_xlim()
    if right - left < 1:  # a single epoch
        axes.set_xlim(round((left + right) / 2) - 0.5, round((left + right) / 2) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def field(axes: Axes, place: tuple[float, float], colour: str, strength: float, text: str = "") -> None:
    """A field of a drawn table; the strength is an opacity, which is one over a light page and over a dark one."""
    corner = (place[0] - 0.47, place[1] - 0.45)
    axes.add_patch(Rectangle(corner, 0.94, 0.9, facecolor=colour, alpha=strength, linewidth=0))
    axes.text(*place, text, ha="center", va="center", fontsize=7.5, color=INK)


def label_fields(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Name the rows of a drawn table and its columns, the first row above."""
    axes.set_xlim(-0.55, len(columns) - 0.45)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelsize=8)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def log_axis(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic ordinate with ticks that can be read."""
    axes.set_yscale("log")
    # A log locator has too few ticks where all values are alike.
    narrow = max(values) < 5 * min(values)
    axes.yaxis.set_major_locator(MaxNLocator(5) if narrow else LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(_THOUSANDS)
    axes.minorticks_off()


def legend(axes: Axes, columns: int = 2) -> None:
    """A legend above the axes, where it covers nothing; the figure grows by its rows."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    rows = -(-len(axes.get_legend_handles_labels()[0]) // columns)
    grown = figure.get_figheight() + 0.17 * rows
    for side in ("bottom", "top"):
        margin = getattr(figure.subplotpars, side) * figure.get_figheight() / grown
        figure.subplots_adjust(**{side: margin})
    figure.set_figheight(grown)
    axes.legend(ncols=columns, loc="lower left", bbox_to_anchor=(0, 1))


def course(points: Points, digits: int = 4) -> str:
    """How a curve runs, in words.

    Example:
        >>> course([(1, 492.46), (2, 366.74), (4, 310.37)])
        'from 492.5 in epoch 1 to 310.4 in epoch 4, lowest 310.4'
    """
    (first, start), (last, end) = points[0], points[-1]
    if len(points) == 1:
        return f"{start:,.{digits}g} in epoch {first:.0f}"
    lowest = min(value for _, value in points)
    return (
        f"from {start:,.{digits}g} in epoch {first:.0f} to {end:,.{digits}g} in epoch {last:.0f}, "
        f"lowest {lowest:,.{digits}g}"
    )
