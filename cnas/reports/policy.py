"""What the algorithm came to believe: the entropy of its policy, and its weights where it has a table of them.

Legend: E edges, O operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnas.reports._drawing import (
    BLUE,
    MUTED,
    SERIES,
    Drawing,
    Points,
    course,
    epochs_axis,
    finish,
    legend,
    line,
    new_figure,
)
from cnas.reports.curves import points
from cnas.reports.heat_map import HeatMap, Table, draw_heat_map
from cnas.reports.record import RunRecord, number
from cnas.spaces.base import SearchSpace

_CHANGE = "Blue has gained, orange has lost, up to {:.2g}."

Tables = Sequence[tuple[float, Table]]
"""(epoch, weights) in the order of the epochs."""


def draw_policy(record: RunRecord) -> list[Drawing]:
    """Every figure of the policy that the rows of the search allow."""
    tables, space = weight_tables(record), record.space
    found = [_draw_entropy(record, tables)]
    if space is not None and len(tables) > 1:
        found.append(_draw_means(space, tables))
    if space is not None and tables:
        found += [draw_heat_map(space, record.architecture, heat_map) for heat_map in _heat_maps(tables)]
    return [drawing for drawing in found if drawing is not None]


def weight_tables(record: RunRecord) -> list[tuple[float, Table]]:
    """(epoch, weights) of every row of the search whose ``alphas`` fit the space."""
    if record.space is None:
        return []
    pairs = [(number(row.get("epoch")), _table(row.get("alphas"), record.space)) for row in record.phase("search")]
    return [(epoch, table) for epoch, table in pairs if epoch is not None and table is not None]


def _table(values: object, space: SearchSpace) -> Table | None:
    edges, operations = space.shape
    if not isinstance(values, list) or len(values) != edges:
        return None
    rows = [row for row in values if isinstance(row, list) and len(row) == operations]
    if len(rows) != edges or any(number(value) is None for row in rows for value in row):
        return None
    return rows


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
    figure, axes = new_figure(2.3)
    line(axes, found, "policy", BLUE)
    if uniform is not None:
        axes.axhline(uniform, color=MUTED, linestyle=":", linewidth=1.2, label="uniform policy")
    values = [value for _, value in found] + ([] if uniform is None else [uniform])
    # Less than a fiftieth of the entropy would look like a cliff if it filled the axes.
    high, span = max(values), max(max(values) - min(values), 0.02 * max(values), 1e-6)
    axes.set_ylim(high - 1.15 * span, high + 0.15 * span)
    epochs_axis(axes, "entropy (nats)")
    legend(axes)
    words = f"Entropy in nats {course(found)}." + ("" if uniform is None else f" A uniform policy has {uniform:.4g}.")
    return finish(figure, "policy_entropy", "Entropy of the policy", words, "The lower, the more decided.")


def _entropies(record: RunRecord, tables: Tables) -> tuple[Points, float | None]:
    """The curve, and the entropy of a uniform policy where it is known; rows without any have that of their table."""
    space, found = record.space, points(record.phase("search"), "policy_entropy")
    if space is None:
        return found, None
    if found:
        return found, math.log(space.size)
    return [(epoch, entropy(table, space)) for epoch, table in tables], sum(
        math.log(len(group)) for group in space.mixtures()
    )


def _draw_means(space: SearchSpace, tables: Tables) -> Drawing:
    edges = sorted({edge for decision in space.decisions() for edge in decision.edges})
    curves = {
        operation: [(epoch, sum(table[edge][index] for edge in edges) / len(edges)) for epoch, table in tables]
        for index, operation in enumerate(space.operations)
    }
    figure, axes = new_figure(2.3)
    for index, (operation, found) in enumerate(curves.items()):
        line(axes, found, operation, SERIES[index % len(SERIES)])
    axes.set_ylim(0, 1.15 * max(value for found in curves.values() for _, value in found) or 1.0)
    epochs_axis(axes, "mean weight")
    legend(axes, columns=3)
    words = "; ".join(f"{operation} {course(found, 3)}" for operation, found in curves.items())
    caption = "Mean over all edges. Where one without parameters gains on all others, the search may be collapsing."
    return finish(figure, "operation_weights", "Weight of each operation", f"Mean over all edges: {words}.", caption)


def _heat_maps(tables: Tables) -> list[HeatMap]:
    (first, begin), (last, end) = tables[0], tables[-1]
    heaviest = max(value for row in end for value in row) or 1.0
    found = [
        HeatMap(
            "alphas",
            f"Weights after epoch {last:.0f}",
            f"The stronger the colour, the more weight, up to {heaviest:.2f}. A row reads: from node to node.",
            end,
            heaviest,
        )
    ]
    if len(tables) > 1:
        change = [[b - a for a, b in zip(*rows, strict=True)] for rows in zip(begin, end, strict=True)]
        largest = max(abs(value) for row in change for value in row) or 1.0
        title = f"Their change since epoch {first:.0f}"
        found.append(HeatMap("alphas_change", title, _CHANGE.format(largest), change, largest))
    return found
