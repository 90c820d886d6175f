"""Limits on costs: what is read, what is refused, and that every algorithm that has them keeps to them."""

from __future__ import annotations

import copy
import math
from collections import Counter

import pytest

from cnas import algorithms
from cnas.algorithms.limits import LimitedConfig, limited, parse_limits
from cnas.errors import UserError
from cnas.random import generator

WITH_LIMITS = [name for name in algorithms.names() if isinstance(algorithms.default_config(name), LimitedConfig)]


def build(space, name, **fields):
    return type(algorithms.default_config(name))(**fields).build(space, seed=0)


def within(space, one, **limits):
    return all(space.costs(one)[name] <= most for name, most in limits.items())


def test_algorithms_that_compare_whole_architectures_have_limits():
    assert WITH_LIMITS == ["enas", "pareto", "rsps", "sandwich", "spos"]


def test_a_limit_names_costs_and_their_largest_values():
    assert parse_limits(" parameters <= 2e6, latency_ms<=3 ") == {"parameters": 2e6, "latency_ms": 3.0}


@pytest.mark.parametrize(
    "text", ["", "parameters", "parameters<2", "parameters<=", "a<=x", "a<=nan", "a<=inf", "a<=1,a<=2", "a<=1,", "<=1"]
)
def test_what_is_no_limit_is_named(elastic, text):
    with pytest.raises(UserError, match=r"^search\.limit is '.*'; allowed: costs with their largest values") as caught:
        build(elastic(), "rsps", limit=text)
    assert "\n" not in str(caught.value)


def test_a_cost_that_the_space_does_not_have_is_named_with_those_it_has(elastic, cell):
    with pytest.raises(UserError, match=r"limit names 'flops', but space elastic has parameters, milliseconds$"):
        build(elastic(), "spos", limit="flops<=3")
    with pytest.raises(UserError, match=r"names 'parameters', but space toy cannot tell what an architecture costs$"):
        build(cell, "enas", limit="parameters<=3")


def test_a_limit_that_nobody_meets_names_the_smallest_and_the_largest(elastic):
    with pytest.raises(UserError) as caught:
        build(elastic(), "sandwich", limit="milliseconds<=5,parameters<=100")
    assert str(caught.value) == (
        "search.limit is milliseconds<=5,parameters<=100, which no architecture of elastic meets: the smallest is "
        "0 0 1 0 2 0 with 6 milliseconds and 2 parameters, the largest 0 3 1 2 2 2 with 57 milliseconds and "
        "80 parameters"
    )


def test_without_a_limit_the_space_is_what_it_was(elastic):
    space = elastic()
    assert limited(space, {}) is space


def test_a_limited_space_is_the_same_otherwise_and_its_samples_are_uniform(elastic):
    space = elastic()
    found = limited(space, {"parameters": 12.0})
    allowed = [one for one in space.all() if within(space, one, parameters=12)]
    assert (found.size, found.shape, found.extremes()) == (len(allowed), space.shape, space.extremes())
    assert found.size == 18
    assert copy.deepcopy(found).size == found.size
    count = 1800
    seen = Counter(found.sample(generator(seed, "draw")) for seed in range(count))
    assert set(seen) == set(allowed)
    assert sum((times - 100) ** 2 / 100 for times in seen.values()) < 17 + 4 * math.sqrt(2 * 17)


def test_where_next_to_nothing_is_left_a_draw_is_made_smaller(elastic):
    space = elastic(*[tuple(range(1, 7))] * 7)
    found = limited(space, {"parameters": 2.0})
    drawn = {found.sample(generator(seed, "draw")) for seed in range(3)}
    assert all(within(space, one, parameters=2) for one in drawn)
    # 279,936 architectures, 8 within the limit: neither counted nor listed.
    assert found.size == space.size
    algorithm = build(space, "rsps", limit="parameters<=2")
    with pytest.raises(UserError, match=r"^curriculum.k is 9; allowed"):
        algorithm.candidates(9, generator(0, "judges"))


@pytest.mark.parametrize("name", WITH_LIMITS)
def test_an_algorithm_considers_only_what_is_within(elastic, judge, name):
    space, limit = elastic(), "parameters<=20,milliseconds<=26"
    algorithm, trainer = build(space, name, limit=limit), judge(space.loss)
    allowed = {one for one in space.all() if within(space, one, parameters=20, milliseconds=26)}
    assert 5 < len(allowed) < 25
    assert set(algorithm.candidates(5, generator(0, "judges"))) <= allowed
    algorithm.end_epoch(trainer.context())
    assert set(algorithm.candidates(5, generator(1, "judges"))) <= allowed
    found, figures = algorithm.derive(trainer.context(1))
    assert {one for asked, _ in trainer.calls for one in asked} <= allowed
    assert found in allowed
    if name != "enas":  # A policy proposes some of them.
        assert space.loss(found.choices) == min(space.loss(one.choices) for one in allowed)
    assert figures["valid_loss"] == pytest.approx(space.loss(found.choices))


@pytest.mark.parametrize("name", ["rsps", "spos"])
def test_single_paths_are_trained_within_the_limit(elastic, name):
    space = elastic()
    algorithm = build(space, name, limit="parameters<=12")
    paths = [algorithm.route(generator(step, "route")).active[0] for step in range(40)]
    assert all(within(space, space.architecture(path), parameters=12) for path in paths)


def test_what_an_architecture_costs_is_taken_from_the_reward_of_the_policy(elastic, judge):
    def update(**fields):
        space, rows = elastic(), []
        algorithm = build(space, "enas", updates=1, samples=4, reward_scale=1.0, entropy_weight=0.0, **fields)
        drawn = algorithm.controller.sample(4, judge(space.loss).context().generator("controller", 0)).choices
        rows.append(algorithm.end_epoch(judge(space.loss).context()))
        return rows[0]["reward"], [space.costs(space.architecture(choices)) for choices in drawn], algorithm

    limit = "parameters<=1e3,milliseconds<=1e2"
    plain, costs, algorithm = update()
    priced, same_costs, other = update(limit=limit, cost_weight=0.5)
    assert costs == same_costs
    share = sum(each["parameters"] / 1e3 + each["milliseconds"] / 1e2 for each in costs) / 4
    assert priced == pytest.approx(plain - 0.5 * share)
    free, _, unpriced = update(limit=limit)
    assert free == plain
    assert all(map(lambda a, b: bool((a == b).all()), algorithm.parameters(), unpriced.parameters()))
    assert not all(map(lambda a, b: bool((a == b).all()), algorithm.parameters(), other.parameters()))


def test_a_price_without_a_limit_is_refused():
    with pytest.raises(UserError, match=r"^search.cost_weight is 0.5; allowed: 0 without search.limit$"):
        algorithms.ENAS.Config(cost_weight=0.5)
    with pytest.raises(UserError, match=r"^search.cost_weight is -1; allowed: 0 or a finite number above it$"):
        algorithms.ENAS.Config(cost_weight=-1, limit="parameters<=3")
