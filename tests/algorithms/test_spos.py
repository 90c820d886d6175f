"""SPOS: leaders that are compared anew after every epoch and judge the data, an evolution in the end."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from cnas.algorithms.spos import SPOS
from cnas.errors import NonFiniteError, Stopped, UserError
from cnas.random import generator


def build(space, **fields):
    return SPOS.Config(**fields).build(space, seed=0)


def number(choices):
    """A loss that differs from architecture to architecture."""
    return sum((3 * edge + 2 * operation + 1) * (place + 2) % 7 for place, (edge, operation) in enumerate(choices)) / 10


def quality(favourite):
    """A loss that falls with the number of choices shared with a favourite."""
    return lambda choices, index: sum(one != other for one, other in zip(choices, favourite.choices, strict=True))


def test_defaults_are_those_of_the_paper():
    config = SPOS.Config()
    assert (config.population, config.generations, config.parents) == (50, 20, 10)
    assert (config.mutations, config.crossovers, config.mutation_rate) == (25, 25, 0.1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"population": 0}, "search.population is 0; allowed: 1 or more"),
        ({"generations": 0}, "search.generations is 0; allowed: 1 or more"),
        ({"leaders": 0}, "search.leaders is 0; allowed: 1 or more"),
        ({"challengers": 0}, "search.challengers is 0; allowed: 1 or more"),
        ({"mutations": 51}, "search.mutations is 51; allowed: 0 to search.population"),
        ({"crossovers": 26}, "search.crossovers is 26; allowed: 0 to 25, population without mutations"),
        ({"mutation_rate": 0.0}, "search.mutation_rate is 0.0; allowed: above 0, at most 1"),
        ({"mutation_rate": math.nan}, "search.mutation_rate is nan; allowed: above 0, at most 1"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(fields, message):
    with pytest.raises(UserError) as error:
        SPOS.Config(**fields)
    assert str(error.value) == message


def test_leaders_are_the_best_of_all_compared_on_equal_terms(recurrent, judge):
    space, scored = recurrent(), {}
    algorithm = build(space, leaders=4, challengers=6)
    for epoch in range(5):
        trainer = judge(lambda choices, index: number(choices) + index)
        before = algorithm.leaders
        row = algorithm.end_epoch(trainer.context(epoch))
        compared = [one for architectures, _ in trainer.calls for one in architectures]
        # All on one batch, another one in every epoch: old scores are not compared with new ones.
        assert {index for _, index in trainer.calls} == {epoch}
        assert compared[: len(before)] == before
        assert len(compared) == len(set(compared)) == len(before) + 6 == row["compared"]
        scored |= {one: number(one.choices) for one in compared}
        losses = sorted(number(one.choices) for one in compared)
        assert [number(one.choices) for one in algorithm.leaders] == losses[:4]
        assert row["first_leader_valid_loss"] == pytest.approx(losses[0] + epoch)
        assert row["last_leader_valid_loss"] == pytest.approx(losses[3] + epoch)
    assert [number(one.choices) for one in algorithm.leaders] == sorted(scored.values())[:4]


def test_judges_are_the_leaders_topped_up_with_random_ones(cell, judge):
    algorithm = build(cell, leaders=3)
    early = algorithm.candidates(3, generator(0, "judges"))
    assert len(set(early)) == 3
    assert early != algorithm.candidates(3, generator(1, "judges"))
    algorithm.end_epoch(judge(lambda choices, index: number(choices)).context())
    for count in (1, 2, 3):
        assert algorithm.candidates(count, generator(count, "judges")) == algorithm.leaders[:count]
    more = algorithm.candidates(26, generator(0, "judges"))
    assert more[:3] == algorithm.leaders
    assert len(set(more)) == 26
    assert all(cell.is_connected(one) for one in [*early, *more])


@pytest.mark.parametrize(("count", "most"), [(0, 27), (-1, 27), (27, 26), (1000, 26)])
def test_judges_beyond_the_space_are_refused(cell, judge, count, most):
    algorithm = build(cell)
    message = rf"^curriculum.k is {count}; allowed: 1 to {most}, the connected architectures of toy$"
    for _ in range(2):
        with pytest.raises(UserError, match=message):
            algorithm.candidates(count, generator(0, "judges"))
        algorithm.end_epoch(judge(lambda choices, index: number(choices)).context())


def test_an_evolution_scores_every_generation_once_on_all_batches(recurrent, judge):
    space = recurrent(nodes=5, operations=4)
    trainer = judge(lambda choices, index: number(choices))
    architecture, figures = build(space, population=20, generations=4, mutations=8, crossovers=8).derive(
        trainer.context()
    )
    scored = [one for architectures, _ in trainer.calls for one in architectures]
    assert {index for _, index in trainer.calls} == {None}
    assert len(scored) == len(set(scored)) == figures["scored"] == 80
    assert trainer.checkpoints == len(trainer.calls)
    assert number(architecture.choices) == min(number(one.choices) for one in scored)
    assert figures["valid_loss"] == pytest.approx(number(architecture.choices))


def test_an_evolution_beats_as_many_random_architectures(recurrent, judge):
    space, won = recurrent(nodes=6, operations=4), 0
    for seed in range(5):
        loss = quality(space.sample(generator(seed, "favourite")))
        _, figures = build(space, population=20, generations=8, mutations=10, crossovers=10, parents=5).derive(
            judge(loss, seed=seed).context()
        )
        drawn = {space.sample(generator(seed, "random", index)) for index in range(160)}
        won += figures["valid_loss"] < min(loss(one.choices, None) for one in drawn)
    assert won >= 4


def test_children_come_of_the_best_of_all_generations(recurrent, judge, monkeypatch):
    algorithm, parents = build(recurrent(5, 4), population=9, generations=4, mutations=4, crossovers=4, parents=3), []
    next_generation = SPOS.next_generation

    def spy(self, found, seen, draws):
        parents.append((list(found), set(seen)))
        return next_generation(self, found, seen, draws)

    monkeypatch.setattr(SPOS, "next_generation", spy)
    trainer = judge(lambda choices, index: number(choices))
    algorithm.derive(trainer.context())
    assert len(parents) == 4
    assert parents[0] == ([], set())
    for generation, (found, seen) in enumerate(parents[1:], 1):
        assert len(seen) == 9 * generation
        assert sorted(number(one.choices) for one in seen)[:3] == [number(one.choices) for one in found]


def test_an_evolution_ends_where_the_space_does(cell, judge):
    trainer = judge(lambda choices, index: number(choices))
    architecture, figures = build(cell).derive(trainer.context())
    every = [one for one in cell.all() if cell.is_connected(one)]
    assert figures["scored"] == 26
    assert number(architecture.choices) == min(number(one.choices) for one in every)


def test_a_long_evolution_can_be_stopped_between_groups(recurrent, judge):
    trainer = judge(lambda choices, index: number(choices))
    trainer.checkpoint = lambda: (_ for _ in ()).throw(Stopped("a test")) if len(trainer.calls) == 3 else None
    with pytest.raises(Stopped):
        build(recurrent(5, 4)).derive(trainer.context())
    assert len(trainer.calls) == 3


def test_losses_that_are_not_finite(recurrent, judge):
    algorithm = build(recurrent(), leaders=2)
    for broken in (math.nan, math.inf):
        with pytest.raises(NonFiniteError, match="of all 48 architectures to choose from are not finite"):
            algorithm.derive(judge(lambda choices, index, broken=broken: broken).context())
        some = judge(lambda choices, index, broken=broken: broken if choices[0][1] else 1.0)
        algorithm.end_epoch(some.context())
        assert all(one.choices[0][1] == 0 for one in algorithm.leaders)
        assert algorithm.derive(some.context())[0].choices[0][1] == 0


def test_a_restart_goes_on_with_the_same_leaders(space, judge):
    whole, resumed = build(space, leaders=3), build(space, leaders=3)
    trainer = judge(lambda choices, index: number(choices))
    whole.end_epoch(trainer.context(0))
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    for algorithm in (whole, resumed):
        algorithm.end_epoch(trainer.context(1))
    assert whole.leaders == resumed.leaders
    assert len(whole.leaders) == 3
    assert set(whole.state_dict()) == {"_extra_state"}
    assert whole.derive(trainer.context(2)) == resumed.derive(trainer.context(2))


def test_the_global_generator_is_left_alone(space, judge):
    before = torch.get_rng_state()
    algorithm, trainer = build(space, generations=3), judge(lambda choices, index: number(choices))
    algorithm.route(generator(0, "route"))
    algorithm.end_epoch(trainer.context())
    algorithm.derive(trainer.context())
    assert torch.equal(before, torch.get_rng_state())
