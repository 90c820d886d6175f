"""How the architecture changed while the search went on: one candidate of the policy after every epoch."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cnas.reports.cell_graph import reads
from cnas.reports.drawing import SERIES, WIDTH, Drawing, field, finish, label_fields
from cnas.reports.record import RunRecord
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

COLUMNS = 24
"""Most epochs in the picture; of a longer search evenly many are left out."""

Column = tuple[str, Architecture]


def draw_probes(record: RunRecord) -> Drawing | None:
    """A row per decision, a column per epoch, the found cell last; None where no row names an architecture."""
    probes = [(str(row["epoch"]), record.parse(row.get("probe_architecture"))) for row in record.phase("search")]
    known = [(epoch, found) for epoch, found in probes if found is not None]
    if not known or record.space is None:
        return None
    step = max(1.0, (len(known) - 1) / (COLUMNS - 1))
    columns: list[Column] = [known[round(index * step)] for index in range(min(len(known), COLUMNS))]
    if record.architecture is not None:
        columns.append(("cell", record.architecture))
    below = 0.45 + 0.17 * -(-len(record.space.operations) // _legend_columns(record.space))
    height = 0.23 + below + 0.23 * len(record.space.decisions())
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.62 / WIDTH, below / height, 1 - 0.7 / WIDTH, 1 - (below + 0.1) / height))
    for x, (label, architecture) in enumerate(columns):
        _column(axes, x + (0.35 if label == "cell" else 0.0), record.space, architecture, len(columns))
    _label(axes, columns, record.space)
    decisions = record.space.decisions()
    words = f"The {len(decisions)} decisions of one candidate after each of {len(known)} epochs, by operation."
    if len(known) > 1:
        (_, before), (_, last) = known[-2:]
        changed = sum(a != b for a, b in zip(before.choices, last.choices, strict=True))
        words += f" Between the last two {changed} decisions changed."
    caption = "One candidate of the policy after each epoch."
    if any(len(decision.sources) > 1 for decision in decisions) and len(known) < 14:
        caption += " Numbers: the node that is read."
    return finish(figure, "probes", "How the architecture changed", words, caption)


def _column(axes: Axes, x: float, space: SearchSpace, architecture: Architecture, count: int) -> None:
    for y, (decision, (source, operation, _)) in enumerate(
        zip(space.decisions(), reads(space, architecture), strict=True)
    ):
        text = str(source) if len(decision.sources) > 1 and count <= 14 else ""
        field(axes, (x, y), SERIES[operation % len(SERIES)], 0.55, text)


def _label(axes: Axes, columns: list[Column], space: SearchSpace) -> None:
    label_fields(axes, _rows(space), [])
    axes.set_xlim(-0.6, len(columns) - 0.4 + 0.35 * (columns[-1][0] == "cell"))
    # At most some eight labels; the found cell always has its own.
    step = -(-len(columns) // 8)
    labelled = [
        x for x, (label, _) in enumerate(columns) if label == "cell" or (x % step == 0 and x + step <= len(columns))
    ]
    axes.set_xticks([x + 0.35 * (columns[x][0] == "cell") for x in labelled], [columns[x][0] for x in labelled])
    axes.set_xlabel("epoch", labelpad=1)
    squares = [
        Line2D([], [], marker="s", linestyle="none", markersize=6, alpha=0.7, color=SERIES[index % len(SERIES)])
        for index in range(len(space.operations))
    ]
    legend: dict[str, Any] = {"ncols": _legend_columns(space), "handletextpad": 0.1, "columnspacing": 0.9}
    axes.figure.legend(squares, space.operations, loc="lower center", **legend)


def _rows(space: SearchSpace) -> list[str]:
    """What each decision is about: a node, or one of several edges that lead to it."""
    decisions = space.decisions()
    if len({decision.target for decision in decisions}) == len(decisions):
        return [f"node {decision.target}" for decision in decisions]
    return [f"{', '.join(map(str, decision.sources))} → {decision.target}" for decision in decisions]


def _legend_columns(space: SearchSpace) -> int:
    """As many as find room beside each other."""
    longest = max(map(len, space.operations))
    return max(1, min(len(space.operations), int(WIDTH / (0.32 + 0.07 * longest))))
