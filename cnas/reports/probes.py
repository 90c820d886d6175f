"""How the architecture changed while the search went on: one candidate of the policy after every epoch."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cnas.reports.cell_graph import reads
from cnas.reports.drawing import BLUE, SERIES, WIDTH, Drawing, field, finish, label_fields
from cnas.reports.record import RunRecord
from cnas.reports.sizes import has_sizes
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

COLUMNS = 24
"""Most epochs in the picture; of a longer search evenly many are left out."""

Column = tuple[str, Architecture]


def draw_probes(record: RunRecord) -> Drawing | None:
    """A row per decision, a column per epoch, the found one last; None where no row names an architecture."""
    probes = [(str(row["epoch"]), record.parse(row.get("probe_architecture"))) for row in record.phase("search")]
    known = [(epoch, found) for epoch, found in probes if found is not None]
    sizes = record.space is not None and has_sizes(record.space)
    if not known or record.space is None or (sizes and len({found for _, found in known}) == 1):
        return None
    step = max(1.0, (len(known) - 1) / (COLUMNS - 1))
    columns: list[Column] = [known[round(index * step)] for index in range(min(len(known), COLUMNS))]
    if record.architecture is not None:
        columns.append(("found", record.architecture))
    below = 0.45 + (0 if sizes else 0.17 * -(-len(record.space.operations) // _legend_columns(record.space)))
    height = 0.23 + below + 0.23 * len(record.space.decisions())
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.62 / WIDTH, below / height, 1 - 0.7 / WIDTH, 1 - (below + 0.1) / height))
    for x, (label, architecture) in enumerate(columns):
        _column(axes, x + (0.35 if label == "found" else 0.0), record.space, architecture, len(columns))
    _label(axes, columns, record.space)
    decisions = record.space.decisions()
    words = f"The {len(decisions)} decisions of one candidate after each of {len(known)} epochs, by operation."
    if len(known) > 1:
        (_, before), (_, last) = known[-2:]
        changed = sum(a != b for a, b in zip(before.choices, last.choices, strict=True))
        words += f" Between the last two {changed} decisions changed."
    caption = "One candidate of the policy after each epoch." + (" The deeper, the larger." if sizes else "")
    if any(len(decision.sources) > 1 for decision in decisions) and len(known) < 14:
        caption += " Numbers: the node that is read."
    return finish(figure, "probes", "How the architecture changed", words, caption)


def _column(axes: Axes, x: float, space: SearchSpace, architecture: Architecture, count: int) -> None:
    for y, (decision, (source, operation, _)) in enumerate(
        zip(space.decisions(), reads(space, architecture), strict=True)
    ):
        colour, strength = SERIES[operation % len(SERIES)], 0.55
        text = str(source) if len(decision.sources) > 1 else ""
        if decision.name:
            place = decision.operations.index(operation) / max(len(decision.operations) - 1, 1)
            colour, strength = BLUE, 0.08 + 0.52 * place
            text = space.operations[operation].removeprefix(decision.name).strip()
        field(axes, (x, y), colour, strength, text if count <= 14 else "")


def _label(axes: Axes, columns: list[Column], space: SearchSpace) -> None:
    label_fields(axes, _rows(space), [])
    axes.set_xlim(-0.6, len(columns) - 0.4 + 0.35 * (columns[-1][0] == "found"))
    # At most some eight labels; the found one always has its own.
    step = -(-len(columns) // 8)
    labelled = [
        x for x, (label, _) in enumerate(columns) if label == "found" or (x % step == 0 and x + step <= len(columns))
    ]
    axes.set_xticks([x + 0.35 * (columns[x][0] == "found") for x in labelled], [columns[x][0] for x in labelled])
    axes.set_xlabel("epoch", labelpad=1)
    if has_sizes(space):
        return
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
        return [decision.name or f"node {decision.target}" for decision in decisions]
    return [f"{', '.join(map(str, decision.sources))} → {decision.target}" for decision in decisions]


def _legend_columns(space: SearchSpace) -> int:
    """As many as find room beside each other."""
    longest = max(map(len, space.operations))
    return max(1, min(len(space.operations), int(WIDTH / (0.32 + 0.07 * longest))))
