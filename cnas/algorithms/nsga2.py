"""NSGA-II: an evolution towards everything that is not beaten in all objectives at once (Deb et al. 2002).

Of a population and its children those survive that fewer fronts lie before, and of the last front that fits in part,
those in its emptiest places. Objectives are numbers of which smaller is better; the draws of a generation come from one
generator.

Legend: N points, M objectives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from cnas.algorithms._candidates import distinct, fresh
from cnas.algorithms.spos import crossed, mutated
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

Point = tuple[float, ...]
"""The objectives of one architecture, M numbers."""
Score = Callable[[Sequence[Architecture]], list[Point]]


def fronts(points: Sequence[Point]) -> list[list[int]]:
    """Divide points into fronts: the first is beaten by nobody, the next one by the first alone, and so on.

    A point beats another one where it is nowhere worse and somewhere better.

    Args:
        points: M numbers each, none NaN.

    Returns:
        The places of the points of each front, ascending.

    Example:
        >>> fronts([(1.0, 3.0), (2.0, 2.0), (3.0, 3.0), (3.0, 1.0)])
        [[0, 1, 3], [2]]
    """
    points_NM = torch.tensor(points, dtype=torch.float64)
    one, other = points_NM[:, None], points_NM[None]
    beats_NN = (one <= other).all(-1) & (one < other).any(-1)
    left_N, found = torch.ones(len(points), dtype=torch.bool), []
    while left_N.any():
        front_N = left_N & ~(beats_NN & left_N[:, None]).any(0)
        found.append(front_N.nonzero().flatten().tolist())
        left_N &= ~front_N
    return found


def crowding(points: Sequence[Point]) -> list[float]:
    """How much room each point of a front has: the gaps between its neighbours, of each objective, as shares of all.

    Args:
        points: of one front, finite.

    Returns:
        A distance for each; infinite at the ends.

    Example:
        >>> crowding([(0.0, 4.0), (1.0, 3.0), (4.0, 0.0)])
        [inf, 2.0, inf]
    """
    room = [0.0] * len(points)
    for values in zip(*points, strict=True):
        order = sorted(range(len(points)), key=values.__getitem__)
        first, last = values[order[0]], values[order[-1]]
        room[order[0]] = room[order[-1]] = math.inf
        for before, place, after in zip(order, order[1:], order[2:], strict=False):
            room[place] += (values[after] - values[before]) / (last - first or 1.0)
    return room


def best_first(points: Sequence[Point]) -> list[int]:
    """The places of all points by the crowded comparison: front after front, in each those with most room first."""
    order: list[int] = []
    for front in fronts(points):
        room = dict(zip(front, crowding([points[place] for place in front]), strict=True))
        order += sorted(front, key=lambda place: -room[place])
    return order


def evolve(
    space: SearchSpace, score: Score, draws: Callable[[int], torch.Generator], *, population: int, generations: int
) -> dict[Architecture, Point]:
    """Every architecture that an evolution scores; it begins with the smallest and the largest one, and random ones.

    Args:
        space: of the architectures.
        score: the objectives of new architectures; an infinite one is never a parent.
        draws: the generator of a generation.
        population: how many architectures a generation has.
        generations: how many are scored; fewer where the space has no more architectures.
    """
    scored: dict[Architecture, Point] = {}
    parents: list[Architecture] = []
    for generation in range(generations):
        generator = draws(generation)
        ends = [] if scored else [one for one in dict.fromkeys(space.extremes()) if space.is_connected(one)]
        children = [*ends[:population], *_children(space, parents, population, scored, generator)]
        children += distinct(space, population - len(children), generator, {*scored, *children})
        if not children:
            break
        scored |= zip(children, score(children), strict=True)
        finite = [one for one in [*parents, *children] if all(map(math.isfinite, scored[one]))]
        parents = [finite[place] for place in best_first([scored[one] for one in finite])[:population]]
    return scored


def _children(
    space: SearchSpace,
    parents: Sequence[Architecture],
    count: int,
    seen: dict[Architecture, Point],
    generator: torch.Generator,
) -> list[Architecture]:
    """Up to ``count`` new crosses, with one mutation on average, of the winners of tournaments of two parents."""
    rate = 1 / len(space.decisions())

    def winner() -> Architecture:
        return parents[int(torch.randint(len(parents), (2,), generator=generator).min())]

    def child() -> Architecture:
        return mutated(space, crossed(space, winner(), winner(), generator), rate, generator)

    return fresh(space, child, count, {*seen}) if parents else []
