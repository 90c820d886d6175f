"""A table with an entry for each operation on each edge, as a heat map.

Legend: E edges, O operations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cnas.reports._drawing import BLUE, INK, RED, WIDTH, Drawing, finish, new_figure
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

Table = list[list[float]]
"""[E][O]."""

_DIGITS = 4
"""Most digits behind the point: rows of ``metrics.jsonl`` keep no more."""
_LETTER = 0.075
"""Inches that a letter of a heading takes."""
_LEFT = 0.75
"""Inches for the names of the rows."""
_NUMBERED = 60
"""Tables with more entries show no numbers: they would not be read."""


@dataclass(frozen=True)
class HeatMap:
    """What is drawn.

    Args:
        name: of the figure.
        title: stands above it.
        caption: says how to read it.
        table: the entries; negative ones are orange.
        largest: the magnitude that has the full colour.
    """

    name: str
    title: str
    caption: str
    table: Table
    largest: float


def draw_heat_map(space: SearchSpace, architecture: Architecture | None, heat_map: HeatMap) -> Drawing:
    """A row per edge of ``space``, a column per operation; what ``architecture`` takes is framed."""
    labels = edge_labels(space)
    edges = sorted(labels)
    height = max(1.4, 0.46 + 0.19 * len(edges))
    figure, axes = new_figure(height)
    headings = _headings(space.operations)
    top = 0.36 + 0.13 * max(heading.count("\n") for heading in headings)
    figure.subplots_adjust(left=_LEFT / WIDTH, top=1 - top / height, bottom=0.1 / height)
    digits = _digits(heat_map.largest)
    for row, edge in enumerate(edges):
        for column, value in enumerate(heat_map.table[edge]):
            _entry(axes, (column, row), value, heat_map.largest)
            if len(edges) * len(space.operations) <= _NUMBERED:
                text = f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")
                axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=INK)
    # After all of them, so that no neighbour covers an edge of the frame.
    for edge, column in architecture.choices if architecture is not None else ():
        corner = (column - 0.5, edges.index(edge) - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=1.4))
    _label(axes, [labels[edge] for edge in edges], headings)
    caption = heat_map.caption + (" Framed: what the cell took." if architecture is not None else "")
    return finish(figure, heat_map.name, heat_map.title, _in_words(space, heat_map.table), caption)


def edge_labels(space: SearchSpace) -> dict[int, str]:
    """``source → target`` of every edge; node 0 is the input.

    Example:
        >>> from cnas.spaces import EnasRnnSpace
        >>> edge_labels(EnasRnnSpace(nodes=2))
        {0: '0 → 1', 1: '0 → 2', 2: '1 → 2'}
    """
    return {
        edge: f"{source} → {decision.target}"
        for decision in space.decisions()
        for edge, source in zip(decision.edges, decision.sources, strict=True)
    }


def _digits(largest: float) -> int:
    """Behind the point, so that the largest entry has two that say something."""
    return min(_DIGITS, max(2, 1 - math.floor(math.log10(largest))))


def _headings(operations: tuple[str, ...]) -> tuple[str, ...]:
    """The names in two lines where they would run into each other."""
    room = (WIDTH - _LEFT) / len(operations)
    if max(map(len, operations)) * _LETTER <= room:
        return operations
    return tuple("_\n".join(name.rsplit("_", 1)) for name in operations)


def _entry(axes: Axes, place: tuple[int, int], value: float, largest: float) -> None:
    corner = (place[0] - 0.47, place[1] - 0.45)
    strength = 0.04 + 0.76 * min(1.0, abs(value) / largest)
    colour = BLUE if value >= 0 else RED
    # The strength is the opacity, so that it is one over a light page and over a dark one.
    axes.add_patch(Rectangle(corner, 0.94, 0.9, facecolor=colour, alpha=strength, linewidth=0))


def _label(axes: Axes, rows: list[str], columns: tuple[str, ...]) -> None:
    axes.set_xlim(-0.55, len(columns) - 0.45)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)


def _in_words(space: SearchSpace, table: Table) -> str:
    labels = edge_labels(space)
    entries = [(table[edge][o], labels[edge], name) for edge in labels for o, name in enumerate(space.operations)]
    entries.sort(key=lambda entry: -abs(entry[0]))
    words = ", ".join(f"{edge} {operation} {value:.3g}" for value, edge, operation in entries[:5])
    return f"A table of {len(labels)} edges by {len(space.operations)} operations; the largest entries: {words}."
