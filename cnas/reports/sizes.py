"""Architectures that are sizes: a table of the chosen one among others, and loss against each cost that counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from cnas.algorithms.limits import parse_limits
from cnas.errors import UserError
from cnas.reports import drawing
from cnas.reports.drawing import BLUE, GREEN, MUTED, RED, Drawing
from cnas.reports.tables import MISSING, Table
from cnas.runs.result import FrontRecord, ScoredRecord, SearchFigures
from cnas.spaces.base import SearchSpace

ROWS = 10
"""Most architectures of a front in the table; of a longer one evenly many are left out."""


def has_sizes(space: SearchSpace) -> bool:
    """Whether what is decided has names, such as a width and a depth, and is no graph."""
    return all(decision.name for decision in space.decisions())


def sizes_of(space: SearchSpace, notation: str) -> dict[str, str]:
    """What was decided, by name.

    Example:
        >>> from cnas.spaces import GptSpace
        >>> sizes_of(GptSpace(), "w192 d4 h4 m576")
        {'width': '192', 'depth': '4', 'heads': '4', 'mlp': '576'}
    """
    pairs = zip(space.decisions(), space.parse(notation).choices, strict=True)
    return {one.name: space.operations[operation].removeprefix(one.name).strip() for one, (_, operation) in pairs}


def cheapest(points: Sequence[ScoredRecord], cost: str) -> list[FrontRecord]:
    """The points of which none is better in loss and in one cost, the smallest loss first."""
    found: list[FrontRecord] = []
    for point in sorted(points, key=lambda each: (each.costs[cost], each.loss)):
        if not found or point.loss < found[-1].loss:
            found.append(point)
    return found[::-1]


def limits_of(values: Mapping[str, Any]) -> dict[str, float]:
    """The limits in the section ``search`` of a configuration; none where it has no such field."""
    try:
        return parse_limits(str(values.get("limit")))
    except UserError:
        return {}


def _costs(points: Sequence[ScoredRecord]) -> list[str]:
    """The names of the costs that all points have."""
    return [name for name in (points[0].costs if points else ()) if all(name in each.costs for each in points)]


def sizes_table(space: SearchSpace, notation: str, costs: Mapping[str, float], search: SearchFigures | None) -> Table:
    """The chosen architecture, the front, the largest and the smallest one.

    Args:
        space: of the architectures.
        notation: of the chosen one; empty where nobody has chosen.
        costs: of the chosen one, where it was not scored.
        search: its figures; None where nothing was searched.
    """
    scored = search.scored if search else []
    values = {each.architecture: each.costs | {"loss": each.loss} for each in scored}
    roles: dict[str, list[str]] = {notation: ["chosen" if search else "given"]} if notation else {}
    if search and (names := _costs(scored)):
        smallest, largest = map(str, space.extremes())
        front = [each.architecture for each in search.front or cheapest(scored, names[0])]
        step = max(1.0, (len(front) - 1) / (ROWS - 1))
        kept = {notation, smallest, largest, *(front[round(place * step)] for place in range(min(len(front), ROWS)))}
        for one, role in [
            *((one, "front") for one in front if one in kept),
            (largest, "largest"),
            (smallest, "smallest"),
        ]:
            roles.setdefault(one, []).append(role)
    columns = [*dict.fromkeys([*costs, *(name for one in values.values() for name in one)])]
    rows = []
    for one, names_of_it in roles.items():
        known = (dict(costs) if one == notation else {}) | values.get(one, {})
        numbers = [_number(known[name]) if name in known else MISSING for name in columns]
        rows.append((one, ", ".join(names_of_it), *sizes_of(space, one).values(), *numbers))
    heads = [*(decision.name for decision in space.decisions()), *(name.replace("_", " ") for name in columns)]
    caption = "Sizes and costs" + (", and losses with the shared weights" if scored else "")
    return Table(caption, ("Architecture", "", *heads), tuple(rows), tuple(range(2, 2 + len(heads))))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.5g}".rstrip(".")


def draw_fronts(notation: str, search: SearchFigures | None, limits: Mapping[str, float]) -> list[Drawing]:
    """Loss against the first cost, and against those that were limited or traded off; nothing without losses.

    Args:
        notation: of the chosen architecture; empty where nobody has chosen.
        search: its figures; None where nothing was searched.
        limits: the largest value of each cost.
    """
    if search is None:
        return []
    wanted = {*limits, *(name for point in search.front for name in point.costs)}
    names = [name for place, name in enumerate(_costs(search.scored)) if not place or name in wanted]
    return [
        _draw(notation, search.scored, name, limits.get(name), f"front_{place}" if place > 1 else "front")
        for place, name in enumerate(names, 1)
    ]


def _draw(notation: str, points: Sequence[ScoredRecord], cost: str, limit: float | None, file: str) -> Drawing:
    figure, axes = drawing.new_figure(2.7)
    front, chosen = cheapest(points, cost), [each for each in points if each.architecture == notation]
    random, others = ([each for each in points if each.random is drawn] for drawn in (True, False))
    _dots(axes, others, cost, label="scored", s=11, color=MUTED, alpha=0.45, linewidths=0)
    _dots(axes, random, cost, label="random", s=15, facecolors="none", edgecolors=GREEN, linewidths=0.9)
    xs, ys = zip(*((each.costs[cost], each.loss) for each in front[::-1]), strict=True)
    axes.step(xs, ys, where="post", color=BLUE, marker="o", label="front")
    _dots(axes, chosen, cost, label="chosen", s=70, color=RED, marker="*", zorder=4, linewidths=0)
    if limit is not None:
        axes.axvline(limit, color=MUTED, linestyle=":", linewidth=1.2, label="limit")
    largest = max(points, key=lambda each: each.costs[cost])
    place, away = (largest.costs[cost], largest.loss), (0, -12 if largest in front else 6)  # never on the line
    axes.annotate("largest", place, away, textcoords="offset points", ha="right", fontsize=7.5, color=MUTED)
    axes.margins(y=0.12)
    _cost_axis(axes, cost.replace("_", " "), [each.costs[cost] for each in points])
    drawing.legend(axes, 5)
    first, last = (
        f"{each.architecture} ({_number(each.costs[cost])}, {each.loss:.4f})" for each in (front[-1], front[0])
    )
    words = (
        f"Loss against {cost.replace('_', ' ')} of {len(points)} architectures: the front goes from {first} to {last}."
    )
    words += f" {notation} is the chosen one." if chosen else ""
    caption = "Nothing below the line was found. Losses are those with shared weights."
    if random:
        caption += f" {len(random)} random architectures have a median of {median(each.loss for each in random):.4f}."
    return drawing.finish(figure, file, f"Loss against {cost.replace('_', ' ')}", words, caption)


def _dots(axes: Axes, points: Sequence[FrontRecord], cost: str, **options: Any) -> None:
    if points:
        axes.scatter([each.costs[cost] for each in points], [each.loss for each in points], **options)


def _cost_axis(axes: Axes, label: str, values: Sequence[float]) -> None:
    """An abscissa of costs, logarithmic where they differ much, with short numbers."""
    wide = max(values) > 5 * min(values) > 0
    if wide:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.set_ylabel("validation loss (nats)")


def short(value: float) -> str:
    """A number with a unit.

    Example:
        >>> [short(value) for value in (2_500_000, 40_000, 0.5)]
        ['2.5M', '40k', '0.5']
    """
    size, unit = next(((size, unit) for size, unit in ((1e6, "M"), (1e3, "k")) if value >= size), (1, ""))
    return f"{value / size:g}{unit}"
