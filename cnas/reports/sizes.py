"""Architectures that are sizes: a table of the chosen one among others, and loss against each cost that counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TypeVar

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
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_Point = TypeVar("_Point", bound=FrontRecord)


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


def cheapest(points: Iterable[_Point], cost: str) -> list[_Point]:
    """The points of which none is better in loss and in one cost, the smallest loss first."""
    found: list[_Point] = []
    for point in sorted(points, key=lambda each: (each.costs[cost], each.loss)):
        if not found or point.loss < found[-1].loss:
            found.append(point)
    return found[::-1]


def limits_of(values: Mapping[str, object]) -> dict[str, float]:
    """The limits in the section ``search`` of a configuration; none where it has no such field."""
    try:
        return parse_limits(str(values.get("limit") or ""))
    except UserError:
        return {}


def sizes_table(space: SearchSpace, notation: str, costs: Mapping[str, float], search: SearchFigures | None) -> Table:
    """The chosen architecture, the front, the largest and the smallest one.

    Args:
        space: of the architectures.
        notation: of the chosen one; empty where nobody has chosen.
        costs: of the chosen one, where it was not scored.
        search: its figures; None where nothing was searched.
    """
    scored = search.scored if search else []
    known = {each.architecture: each for each in scored}
    front = ((search and search.front) or cheapest(scored, next(iter(scored[0].costs)))) if scored else []
    step = max(1.0, (len(front) - 1) / (ROWS - 1))
    kept = {front[round(place * step)].architecture for place in range(min(len(front), ROWS))}
    smallest, largest = (str(one) for one in space.extremes()) if scored else ("", "")
    shown = [each.architecture for each in front if each.architecture in {*kept, notation, smallest, largest}]
    roles: dict[str, list[str]] = {notation: ["chosen" if search else "given"]} if notation else {}
    ends = [(largest, "largest"), (smallest, "smallest")] if scored else []
    for one, role in [*((one, "front") for one in shown), *ends]:
        roles.setdefault(one, []).append(role)
    names = [*dict.fromkeys([*costs, *(name for each in scored[:1] for name in [*each.costs, "loss"])])]
    rows = []
    for one, known_as in roles.items():
        has = dict(costs) if one == notation else {}
        has |= {**known[one].costs, "loss": known[one].loss} if one in known else {}
        numbers = [_number(has[name]) if name in has else MISSING for name in names]
        rows.append((one, ", ".join(known_as), *sizes_of(space, one).values(), *numbers))
    sizes = [decision.name for decision in space.decisions()]
    heads = ("Architecture", "", *sizes, *(name.replace("_", " ") for name in names))
    caption = "Sizes and costs" + (", and losses with the shared weights" if scored else "")
    return Table(caption, heads, tuple(rows), tuple(range(2, len(heads))))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.5g}".rstrip(".")


def draw_fronts(notation: str, search: SearchFigures | None, limits: Mapping[str, float]) -> list[Drawing]:
    """Loss against the first cost, and against those that were limited or traded off; nothing without losses.

    Args:
        notation: of the chosen architecture; empty where nobody has chosen.
        search: its figures; None where nothing was searched.
        limits: the largest value of each cost.
    """
    points = search.scored if search else []
    if search is None or len(points) < 2:
        return []
    traded = (name for point in search.front for name in point.costs)
    names = dict.fromkeys([*list(points[0].costs)[:1], *limits, *traded])
    every = [name for name in names if all(name in point.costs for point in points)]
    return [
        _draw(notation, points, name, limits.get(name), "front" if not place else f"front_{name}")
        for place, name in enumerate(every)
    ]


def _draw(notation: str, points: Sequence[ScoredRecord], cost: str, limit: float | None, file: str) -> Drawing:
    figure, axes = drawing.new_figure(2.7)
    random, others = ([each for each in points if each.random is is_random] for is_random in (True, False))
    ordered = sorted(points, key=lambda each: each.costs[cost])
    front, chosen = cheapest(points, cost), [each for each in points if each.architecture == notation]
    _dots(axes, others, cost, "scored", {"s": 11, "color": MUTED, "alpha": 0.45, "linewidths": 0})
    _dots(axes, random, cost, "random", {"s": 15, "facecolors": "none", "edgecolors": GREEN, "linewidths": 0.9})
    xs, ys = [each.costs[cost] for each in front[::-1]], [each.loss for each in front[::-1]]
    axes.step(xs, ys, where="post", color=BLUE, marker="o", label="front")
    _dots(axes, chosen, cost, "chosen", {"s": 70, "color": RED, "marker": "*", "zorder": 4, "linewidths": 0})
    if limit is not None:
        axes.axvline(limit, color=MUTED, linestyle=":", linewidth=1.2, label="limit")
    words = cost.replace("_", " ")
    for end, word, side, up in ((ordered[0], "smallest", "left", -11), (ordered[-1], "largest", "right", 5)):
        place = (end.costs[cost], end.loss)
        axes.annotate(word, place, (0, up), textcoords="offset points", ha=side, fontsize=7.5, color=MUTED)
    axes.set_xlabel(words)
    axes.set_ylabel("validation loss (nats)")
    _cost_axis(axes, [each.costs[cost] for each in points])
    drawing.legend(axes, 5)

    def described(point: FrontRecord) -> str:
        return f"{point.architecture} ({_number(point.costs[cost])}, {point.loss:.4f})"

    alternative = f"Loss with shared weights against {words} of {len(points)} architectures. "
    alternative += f"The front goes from {described(front[-1])} to {described(front[0])}."
    alternative += "".join(f" Chosen: {described(each)}." for each in chosen)
    caption = "Nothing below the line was found. Losses are those with shared weights."
    if random:
        caption += f" {len(random)} random architectures have a median of {median(each.loss for each in random):.4f}."
    return drawing.finish(figure, file, f"Loss against {words}", alternative, caption)


def _dots(axes: Axes, points: Sequence[FrontRecord], cost: str, label: str, look: Mapping[str, object]) -> None:
    if points:
        xs, ys = [each.costs[cost] for each in points], [each.loss for each in points]
        axes.scatter(xs, ys, label=label, **look)  # type: ignore[arg-type] # by name


def _cost_axis(axes: Axes, values: Sequence[float]) -> None:
    """An abscissa of costs, logarithmic where they differ much, with short numbers."""
    wide = min(values) > 0 and max(values) > 5 * min(values)
    if wide:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.minorticks_off()


def short(value: float) -> str:
    """A number with a unit.

    Example:
        >>> [short(value) for value in (2_500_000, 40_000, 0.5)]
        ['2.5M', '40k', '0.5']
    """
    size, unit = next(((size, unit) for size, unit in _UNITS if value >= size), (1, ""))
    return f"{value / size:g}{unit}"
