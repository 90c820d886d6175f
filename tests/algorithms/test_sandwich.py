"""Sandwich: both ends and two random architectures in a step; the ends score the data first."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from cnas.algorithms import Pareto, Sandwich
from cnas.errors import UserError
from cnas.random import generator


def build(space, **fields):
    return Sandwich.Config(**fields).build(space, seed=0)


@pytest.fixture(params=[Sandwich, Pareto], ids=lambda kind: kind.name)
def both(request):
    """Both train in the same way."""
    return request.param


def test_a_step_trains_largest_and_smallest_and_two_that_are_uniform(elastic, both):
    space, count = elastic(), 900
    algorithm = both.Config().build(space, 0)
    smallest, largest = space.extremes()
    seen = Counter()
    for step in range(count):
        routes = algorithm.routes(generator(step, "route"))
        paths = [space.architecture(one.active[0]) for one in routes]
        assert paths[:2] == [largest, smallest]
        assert len(paths) == algorithm.paths_per_step == 4
        assert all(one.unit for one in routes)
        seen.update(paths[2:])
    assert len(seen) == 36
    chi_square = sum((times - 2 * count / 36) ** 2 / (2 * count / 36) for times in seen.values())
    assert chi_square < 35 + 4 * math.sqrt(2 * 35)
    one, first = algorithm.route(generator(1, "route")), algorithm.routes(generator(1, "route"))[0]
    assert torch.equal(one.weights, first.weights)


def test_candidates_are_the_ends_and_random_ones(elastic, both):
    space = elastic()
    algorithm = both.Config().build(space, 0)
    for count in (1, 2, 5, 36):
        found = algorithm.candidates(count, generator(1, "judges"))
        assert found[:2] == [*space.extremes()][:count]
        assert len(set(found)) == count
    assert algorithm.candidates(9, generator(1, "judges")) != algorithm.candidates(9, generator(2, "judges"))
    with pytest.raises(UserError, match=r"curriculum.k is 37; allowed: 1 to 36"):
        algorithm.candidates(37, generator(1, "judges"))


def test_a_limit_is_for_random_ones_and_candidates_while_both_ends_are_trained(elastic, both):
    space = elastic()
    algorithm = both.Config(limit="parameters<=12").build(space, 0)
    smallest, largest = space.extremes()
    drawn = [space.architecture(one.active[0]) for one in algorithm.routes(generator(1, "route"))]
    assert drawn[:2] == [largest, smallest]
    assert all(space.costs(one)["parameters"] <= 12 for one in drawn[2:])
    candidates = algorithm.candidates(5, generator(1, "judges"))
    assert candidates[0] == smallest
    assert largest not in candidates


def test_derive_takes_the_lowest_loss_of_distinct_architectures(elastic, judge):
    space = elastic()
    trainer = judge(space.loss)
    found, figures = build(space, samples=20).derive(trainer.context())
    scored = {one for asked, _ in trainer.calls for one in asked}
    assert len(scored) == figures["scored"] == 20
    assert space.loss(found.choices) == min(space.loss(one.choices) for one in scored)
    assert {index for _, index in trainer.calls} == {None}


def test_a_space_without_sizes_is_refused(cell, both):
    with pytest.raises(UserError, match=r"^space toy has no smallest and no largest architecture: all have the same"):
        both.Config().build(cell, 0)


def test_a_wrong_number_of_samples_is_named():
    with pytest.raises(UserError, match=r"^search.samples is 0; allowed: 1 or more$"):
        Sandwich.Config(samples=0)
