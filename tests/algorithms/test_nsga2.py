"""NSGA-II: its sort by the definition, its fronts by their hypervolume against brute force. Legend: M objectives."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.algorithms import nsga2
from cnas.algorithms.nsga2 import best_first, crowding, evolve, fronts
from cnas.random import generator

SIZES = tuple(tuple(range(1, 7)) for _ in range(4))
"""1296 architectures."""


def beats(one, other):
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def unbeaten(points):
    kept = []
    for one in sorted(points):  # Whatever beats a point comes before it.
        if not any(beats(other, one) for other in kept):
            kept.append(one)
    return kept


def hypervolume(points, corner):
    """The volume between points and a corner that is worse than all: slices along the last objective."""
    points = [point for point in points if all(a < b for a, b in zip(point, corner, strict=True))]
    if not points:
        return 0.0
    if len(corner) == 1:
        return corner[0] - min(point[0] for point in points)
    edges = [*sorted({point[-1] for point in points}), corner[-1]]
    return sum(
        (after - before) * hypervolume([point[:-1] for point in points if point[-1] <= before], corner[:-1])
        for before, after in itertools.pairwise(edges)
    )


grid = st.integers(2, 3).flatmap(lambda m: st.lists(st.tuples(*[st.integers(0, 4)] * m), min_size=1, max_size=12))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(points=grid)
def test_the_oracle_counts_the_unit_cells_that_a_point_dominates(points):
    corner = (5,) * len(points[0])
    cells = itertools.product(range(5), repeat=len(corner))
    covered = sum(any(all(a <= b for a, b in zip(point, cell, strict=True)) for point in points) for cell in cells)
    assert hypervolume(points, corner) == covered


@settings(derandomize=True, deadline=None, max_examples=60)
@given(points=grid)
def test_each_front_is_what_is_unbeaten_once_those_before_are_gone(points):
    left = [*range(len(points))]
    for front in fronts(points):
        assert front == [one for one in left if not any(beats(points[other], points[one]) for other in left)]
        left = [one for one in left if one not in front]
    assert not left


def test_room_is_the_sum_of_the_gaps_between_neighbours():
    assert crowding([(0.0, 10.0), (1.0, 5.0), (3.0, 4.0), (10.0, 0.0)]) == [
        math.inf,
        pytest.approx(0.3 + 0.6),
        pytest.approx(0.9 + 0.5),
        math.inf,
    ]
    assert crowding([(1.0, 2.0)]) == [math.inf]
    assert crowding([(1.0, 1.0)] * 3) == [math.inf, 0.0, math.inf]


def test_fronts_count_first_and_room_within_them():
    points = [(5.0, 5.0), (0.0, 10.0), (1.0, 5.0), (3.0, 4.0), (10.0, 0.0)]
    assert best_first(points) == [1, 4, 3, 2, 0]
    assert best_first([]) == []


def search(space, costs, seed=0, **sizes):
    """(every point of the space, the points that an evolution scored)."""

    def point(one):
        return (space.loss(one.choices), *(space.costs(one)[name] for name in costs))

    calls = []

    def score(found):
        calls.append(list(found))
        return [point(one) for one in found]

    scored = evolve(space, score, lambda index: generator(seed, "generation", index), **sizes)
    assert [one for call in calls for one in call] == [*scored]
    assert len({*scored}) == sum(map(len, calls))
    return {one: point(one) for one in space.all()}, scored


@pytest.mark.parametrize("costs", [("parameters",), ("milliseconds",), ("parameters", "milliseconds")])
def test_the_front_covers_more_of_the_volume_of_the_true_one_than_random_draws(elastic, costs):
    missed, missed_by_chance = 0.0, 0.0
    for seed in range(3):
        every, scored = search(elastic(*SIZES), costs, seed, population=30, generations=10)
        assert len(scored) == 300
        corner = tuple(1.01 * max(values) for values in zip(*every.values(), strict=True))
        drawn = random.Random(seed).sample([*every.values()], 300)
        true, found, chance = (
            hypervolume(unbeaten(points), corner) for points in ([*every.values()], scored.values(), drawn)
        )
        assert 0.97 * true < found <= true
        missed, missed_by_chance = missed + true - found, missed_by_chance + true - chance
    # A front of three objectives is larger than the population.
    assert missed < (0.7 if len(costs) == 1 else 1.0) * missed_by_chance


def test_it_is_a_function_of_its_draws_and_begins_with_the_ends(elastic):
    space, sizes = elastic(*SIZES), {"population": 10, "generations": 3}
    one, other, third = (search(space, ("parameters",), seed, **sizes)[1] for seed in (1, 1, 2))
    assert [*one] == [*other]
    assert [*one] != [*third]
    assert [*one][:2] == [*third][:2] == [*space.extremes()]


def test_a_small_space_is_scored_whole_and_then_it_ends(elastic):
    every, scored = search(elastic(), ("parameters",), population=10, generations=50)
    assert scored == every


def test_a_loss_that_is_no_number_has_no_children(elastic, monkeypatch):
    space, parents = elastic(*SIZES), []
    children = nsga2._children

    def spied(space, found, *rest):
        parents.extend(found)
        return children(space, found, *rest)

    monkeypatch.setattr(nsga2, "_children", spied)

    def score(found):
        return [(math.inf if one.choices[0][1] % 2 else space.loss(one.choices), 1.0) for one in found]

    draws = lambda index: generator(0, "generation", index)  # noqa: E731
    scored = evolve(space, score, draws, population=10, generations=4)
    assert len(scored) == 40
    assert parents
    assert not any(one.choices[0][1] % 2 for one in parents)
