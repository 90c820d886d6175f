"""Figures of the search algorithm's policy: its entropy, and its weights per edge and operation.

Legend: E edges, O operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnas.reports import drawing
from cnas.reports.drawing import BLUE, INK, RED, SERIES, WIDTH, Curve, Drawing, Points, course, points
from cnas.reports.record import RunRecord
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

Table = list[list[float]]
"""[E][O]."""
Tables = Sequence[tuple[float, Table]]
"""(epoch, weights) in the order of the epochs."""

_CHANGE = "Blue has gained, orange has lost, up to {:.2g}."
_DIGITS = 4
"""Most digits behind the point: rows of ``metrics.jsonl`` keep no more."""
_LETTER = 0.075
"""Inches that a letter of a heading takes."""
_LEFT = 0.75
"""Inches for the names of the rows."""
_NUMBERED = 60
"""Tables with more entries show no numbers: they would not be read."""


def draw_policy(record: RunRecord) -> list[Drawing]:
    """Every figure of the policy that the rows of the search allow."""
    tables, space = weight_tables(record), record.space
    found = [_draw_entropy(record, tables)]
    if space is not None and len(tables) > 1:
        found.append(_draw_means(space, tables))
    if space is not None and tables:
        found += _heat_maps(space, record.architecture, tables)
    return [each for each in found if each is not None]


def weight_tables(record: RunRecord) -> list[tuple[float, Table]]:
    """(epoch, weights) of every row of the search whose ``alphas`` fit the space."""
    if record.space is None:
        return []
    edges, operations = record.space.shape
    pairs = [(row["epoch"], row.get("alphas") or []) for row in record.phase("search")]
    return [
        (epoch, table)
        for epoch, table in pairs
        if len(table) == edges and all(len(row) == operations and None not in row for row in table)
    ]


def entropy(table: Table, space: SearchSpace) -> float:
    """The entropy in nats of a table of weights: the sum over the groups of entries that sum to one.

    Example:
        >>> from cnas.spaces import EnasRnnSpace
        >>> round(entropy([[0.25] * 4], EnasRnnSpace(nodes=1)), 3)
        1.386
    """
    total = 0.0
    for group in space.mixtures():
        weights = [max(table[edge][operation], 0.0) for edge, operation in group]
        whole = sum(weights) or 1.0
        total -= sum(weight / whole * math.log(weight / whole) for weight in weights if weight > 0)
    return total


def _draw_entropy(record: RunRecord, tables: Tables) -> Drawing | None:
    found, uniform = _entropies(record, tables)
    if not found:
        return None
    level = None if uniform is None else (uniform, "uniform policy")
    figure, axes = drawing.plot([Curve("policy", found, BLUE)], "entropy (nats)", height=2.3, level=level)
    values = [value for _, value in found] + ([] if uniform is None else [uniform])
    # Less than a fiftieth of the entropy would look like a cliff if it filled the axes.
    high, span = max(values), max(max(values) - min(values), 0.02 * max(values), 1e-6)
    axes.set_ylim(high - 1.15 * span, high + 0.15 * span)
    words = f"Entropy in nats {course(found)}." + ("" if uniform is None else f" A uniform policy has {uniform:.4g}.")
    title = "Entropy of the policy"
    return drawing.finish(figure, "policy_entropy", title, words, "The lower, the more decided.")


def _entropies(record: RunRecord, tables: Tables) -> tuple[Points, float | None]:
    """The curve, and the entropy of a uniform policy where it is known; rows without any have that of their table."""
    space, found = record.space, points(record.phase("search"), "policy_entropy")
    if space is None:
        return found, None
    if found:
        return found, math.log(space.size)
    uniform = sum(math.log(len(group)) for group in space.mixtures())
    return [(epoch, entropy(table, space)) for epoch, table in tables], uniform


def _draw_means(space: SearchSpace, tables: Tables) -> Drawing:
    edges = sorted({edge for decision in space.decisions() for edge in decision.edges})
    means = {
        operation: [(epoch, sum(table[edge][index] for edge in edges) / len(edges)) for epoch, table in tables]
        for index, operation in enumerate(space.operations)
    }
    curves = [Curve(name, found, SERIES[i % len(SERIES)]) for i, (name, found) in enumerate(means.items())]
    figure, axes = drawing.plot(curves, "mean weight", height=2.3, columns=3)
    axes.set_ylim(0, 1.15 * max(value for curve in curves for _, value in curve.points) or 1.0)
    words = f"Mean over all edges: {drawing.in_words(curves, 3)}."
    caption = "Mean over all edges. Where one without parameters gains on all others, the search may be collapsing."
    return drawing.finish(figure, "operation_weights", "Weight of each operation", words, caption)


def _heat_maps(space: SearchSpace, architecture: Architecture | None, tables: Tables) -> list[Drawing]:
    """The last table, and how it has changed since the first; what ``architecture`` takes is framed."""
    (first, start), (last, end) = tables[0], tables[-1]
    heaviest = max(value for row in end for value in row) or 1.0
    caption = f"The stronger the colour, the more weight, up to {heaviest:.2f}. A row reads: from node to node."
    change = [[b - a for a, b in zip(*rows, strict=True)] for rows in zip(start, end, strict=True)]
    largest = max(abs(value) for row in change for value in row) or 1.0
    every = [
        ("alphas", f"Weights after epoch {last:.0f}", caption, end, heaviest),
        ("alphas_change", f"Their change since epoch {first:.0f}", _CHANGE.format(largest), change, largest),
    ]
    framed = " Framed: what was chosen." if architecture is not None else ""
    return [
        drawing.finish(
            heat_map(space, architecture, table, scale), name, title, _in_words(space, table), about + framed
        )
        for name, title, about, table, scale in every[: len(tables)]
    ]


def heat_map(space: SearchSpace, architecture: Architecture | None, table: Table, largest: float) -> Figure:
    """A row per edge, a column per operation; ``largest`` is the magnitude that has the full colour."""
    labels = edge_labels(space)
    edges = sorted(labels)
    height = max(1.4, 0.46 + 0.19 * len(edges))
    figure, axes = drawing.new_figure(height)
    headings = _headings(space.operations)
    top = 0.36 + 0.13 * max(heading.count("\n") for heading in headings)
    figure.subplots_adjust(left=_LEFT / WIDTH, top=1 - top / height, bottom=0.1 / height)
    # So that the largest entry has two digits that say something.
    numbered = len(edges) * len(space.operations) <= _NUMBERED
    digits = min(_DIGITS, max(2, 1 - math.floor(math.log10(largest))))
    for row, edge in enumerate(edges):
        for column, value in enumerate(table[edge]):
            text = f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−") if numbered else ""
            strength = 0.04 + 0.76 * min(1.0, abs(value) / largest)
            drawing.field(axes, (column, row), BLUE if value >= 0 else RED, strength, text)
    # After all of them, so that no neighbour covers an edge of the frame.
    for edge, column in architecture.choices if architecture is not None else ():
        corner = (column - 0.5, edges.index(edge) - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=1.4))
    drawing.label_fields(axes, [labels[edge] for edge in edges], headings)
    axes.xaxis.tick_top()
    return figure


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


def _headings(operations: tuple[str, ...]) -> tuple[str, ...]:
    """The names in two lines where they would run into each other."""
    room = (WIDTH - _LEFT) / len(operations)
    if max(map(len, operations)) * _LETTER <= room:
        return operations
    return tuple("_\n".join(name.rsplit("_", 1)) for name in operations)


def _in_words(space: SearchSpace, table: Table) -> str:
    labels = edge_labels(space)
    entries = [(table[edge][o], labels[edge], name) for edge in labels for o, name in enumerate(space.operations)]
    entries.sort(key=lambda entry: -abs(entry[0]))
    words = ", ".join(f"{edge} {operation} {value:.3g}" for value, edge, operation in entries[:5])
    return f"A table of {len(labels)} edges by {len(space.operations)} operations; the largest entries: {words}."
