"""RSPS: uniform paths, distinct judges, the best of random architectures."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from cnas.algorithms.rsps import RSPS
from cnas.errors import NonFiniteError, UserError
from cnas.random import generator


def build(space, **fields):
    return RSPS.Config(**fields).build(space, seed=0)


def number(choices):
    """A loss that differs from architecture to architecture."""
    return sum((3 * edge + 2 * operation + 1) * (place + 2) % 7 for place, (edge, operation) in enumerate(choices)) / 10


def test_routes_are_uniform_over_the_connected_paths(cell):
    algorithm, count = build(cell), 5200
    routings = [algorithm.route(generator(step, "route")) for step in range(count)]
    assert all(routing.unit for routing in routings)
    seen = Counter(routing.active[0] for routing in routings)
    expected = count / 26
    assert len(seen) == 26
    assert all(any(operation for _, operation in choices) for choices in seen)
    chi_square = sum((times - expected) ** 2 / expected for times in seen.values())
    assert chi_square < 25 + 4 * math.sqrt(2 * 25)
    assert algorithm.arch_order is None


@pytest.mark.parametrize("count", [1, 5, 20, 26])
def test_candidates_are_distinct_connected_and_a_function_of_the_generator(cell, count):
    algorithm = build(cell)
    found = algorithm.candidates(count, generator(1, "judges"))
    assert len(found) == len(set(found)) == count
    assert all(cell.is_connected(one) for one in found)
    assert found == algorithm.candidates(count, generator(1, "judges"))
    if count < 26:
        assert found != algorithm.candidates(count, generator(2, "judges"))


def test_every_architecture_is_a_candidate_equally_often(recurrent):
    algorithm, rounds = build(recurrent(nodes=2)), 600
    seen = Counter(one for step in range(rounds) for one in algorithm.candidates(6, generator(step, "judges")))
    assert len(seen) == 8
    deviation = math.sqrt(rounds * 0.75 * 0.25)
    assert all(abs(times - rounds * 0.75) < 4 * deviation for times in seen.values())


def test_rare_architectures_are_found_by_listing_what_is_left(cell, monkeypatch):
    """A sampler that keeps repeating itself must neither hang nor bring the same architecture twice."""
    algorithm, common = build(cell), cell.parse("0 1 1 1 2 1")
    monkeypatch.setattr(cell, "sample", lambda generator: common)
    found = algorithm.candidates(9, generator(0, "judges"))
    assert found[0] == common
    assert len(set(found)) == 9
    assert all(cell.is_connected(one) for one in found)


@pytest.mark.parametrize(("count", "most"), [(0, 27), (-1, 27), (27, 26), (1000, 26)])
def test_candidates_beyond_the_space_are_refused(cell, count, most):
    with pytest.raises(
        UserError, match=rf"^curriculum.k is {count}; allowed: 1 to {most}, the connected architectures of toy$"
    ):
        build(cell).candidates(count, generator(0, "judges"))


def test_derive_takes_the_lowest_loss_of_distinct_architectures_on_all_batches(space, judge):
    trainer = judge(lambda choices, index: number(choices))
    architecture, figures = build(space, samples=23).derive(trainer.context())
    scored = [found for architectures, _ in trainer.calls for found in architectures]
    losses = sorted(number(found.choices) for found in scored)
    assert {index for _, index in trainer.calls} == {None}
    assert [len(architectures) for architectures, _ in trainer.calls] == [10, 10, 3]
    assert len(set(scored)) == figures["scored"] == 23
    assert all(space.is_connected(found) for found in scored)
    assert figures["valid_loss"] == pytest.approx(losses[0]) == pytest.approx(number(architecture.choices))
    assert figures["valid_perplexity"] == pytest.approx(math.exp(losses[0]))
    assert figures["median_valid_loss"] == pytest.approx(losses[11])
    assert figures["worst_valid_loss"] == pytest.approx(losses[-1])


def test_a_space_with_fewer_architectures_than_samples_is_scored_whole(cell, judge):
    favourite = cell.parse("0 2 1 0 2 1")
    trainer = judge(lambda choices, index: 0.1 if choices == favourite.choices else 1.0)
    architecture, figures = build(cell).derive(trainer.context())
    assert architecture == favourite
    assert figures["scored"] == 26


def test_losses_that_are_not_finite(recurrent, judge):
    algorithm = build(recurrent())
    for broken in (math.nan, math.inf):
        with pytest.raises(NonFiniteError, match="of all 48 architectures to choose from are not finite"):
            algorithm.derive(judge(lambda choices, index, broken=broken: broken).context())
        some = judge(lambda choices, index, broken=broken: broken if choices[0][1] else 1.0)
        _, figures = algorithm.derive(some.context())
        assert figures["valid_loss"] == 1.0
        assert figures["worst_valid_loss"] == math.inf


def test_a_wrong_number_of_samples_is_named():
    with pytest.raises(UserError, match=r"^search.samples is 0; allowed: 1 or more$"):
        RSPS.Config(samples=0)


def test_it_has_nothing_to_save_and_leaves_the_global_generator_alone(space, judge):
    algorithm, before = build(space), torch.get_rng_state()
    algorithm.route(generator(0, "route"))
    algorithm.derive(judge(lambda choices, index: number(choices)).context())
    assert torch.equal(before, torch.get_rng_state())
    assert algorithm.end_epoch(judge(lambda choices, index: 0.0).context()) == {}
    assert algorithm.state_dict() == {"_extra_state": {}}
