"""Pareto: the whole front, by brute force where the space is small; who chooses on it."""

from __future__ import annotations

import math

import pytest

from cnas.algorithms import Pareto
from cnas.errors import NonFiniteError, UserError


def build(space, **fields):
    return Pareto.Config(**fields).build(space, seed=0)


def true_front(space, *costs, loss=None, allowed=lambda one: True):
    """{notation: point} of what nothing beats, by the definition."""
    loss = loss or space.loss
    points = {
        str(one): (loss(one.choices), *(space.costs(one)[name] for name in costs))
        for one in space.all()
        if allowed(one)
    }

    def beaten(point):
        every = points.values()
        return any(all(a <= b for a, b in zip(other, point, strict=True)) and other != point for other in every)

    return {name: point for name, point in points.items() if not beaten(point)}


def found_front(algorithm):
    return {point.architecture: (pytest.approx(point.loss), *point.costs.values()) for point in algorithm.front}


@pytest.mark.parametrize("costs", [("parameters",), ("milliseconds",), ("milliseconds", "parameters")])
def test_a_small_space_is_scored_whole_and_its_front_is_the_true_one(elastic, judge, costs):
    space = elastic()
    algorithm, trainer = build(space, costs=costs), judge(space.loss)
    found, figures = algorithm.derive(trainer.context())
    assert found is None
    assert found_front(algorithm) == true_front(space, *costs)
    assert [list(point.costs) for point in algorithm.front] == [[*costs]] * len(algorithm.front)
    losses = [point.loss for point in algorithm.front]
    assert losses == sorted(losses)
    assert figures == {"scored": 36.0, "front": float(len(losses))}
    assert len(losses) > 3


def test_within_a_limit_the_smallest_loss_is_chosen_and_the_front_ends_there(elastic, judge):
    space = elastic()
    algorithm = build(space, limit="milliseconds<=30")
    found, figures = algorithm.derive(judge(space.loss).context())
    within = true_front(space, "parameters", "milliseconds", allowed=lambda one: space.costs(one)["milliseconds"] <= 30)
    assert found_front(algorithm) == within
    assert space.loss(found.choices) == min(point[0] for point in within.values())
    assert figures["valid_loss"] == pytest.approx(space.loss(found.choices))
    assert figures["valid_perplexity"] == pytest.approx(math.exp(space.loss(found.choices)))


def test_what_somebody_picks_is_the_result(elastic, judge):
    space, pick = elastic(), "0 1 1 1 2 0"
    for limit in (None, "parameters<=2"):
        algorithm = build(space, pick=pick, limit=limit)
        found, figures = algorithm.derive(judge(space.loss).context())
        assert str(found) == pick
        assert figures["valid_loss"] == pytest.approx(space.loss(found.choices))
        assert algorithm.front


def test_a_large_space_is_searched_by_an_evolution(elastic, judge):
    space = elastic(*[tuple(range(1, 8))] * 4)
    algorithm, trainer = build(space, population=30, generations=4), judge(space.loss)
    _, figures = algorithm.derive(trainer.context())
    scored = [one for asked, index in trainer.calls for one in asked if index is None]
    assert len(set(scored)) == len(scored) == figures["scored"] == 120
    points = {str(one): space.loss(one.choices) for one in scored}
    assert all(points[point.architecture] == pytest.approx(point.loss) for point in algorithm.front)
    assert trainer.checkpoints >= 12


def test_a_loss_that_is_no_number_is_on_no_front(elastic, judge):
    space = elastic()

    def loss(choices, index=None):
        return math.nan if choices[0][1] == 0 else space.loss(choices)

    algorithm = build(space)
    algorithm.derive(judge(loss).context())
    assert found_front(algorithm) == true_front(space, "parameters", allowed=lambda one: one.choices[0][1] > 0)
    with pytest.raises(NonFiniteError, match=r"^the validation losses of all 36 architectures are not finite$"):
        build(space).derive(judge(lambda choices, index: math.inf).context())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"costs": ("flops",)}, r"^search.costs names 'flops', but space elastic has parameters, milliseconds$"),
        ({"population": 0}, r"^search.population is 0; allowed: 1 or more$"),
        ({"generations": 0}, r"^search.generations is 0; allowed: 1 or more$"),
    ],
)
def test_wrong_settings_are_named(elastic, fields, message):
    with pytest.raises(UserError, match=message):
        build(elastic(), **fields)
