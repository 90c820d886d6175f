"""ENAS: what it draws, how its controller learns, what it derives, and that all of it survives a restart."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT
from test_controller import log_prob

from cnas.algorithms.enas import ENAS, follow
from cnas.errors import NonFiniteError, UserError
from cnas.random import generator


def build(space, seed=0, **fields):
    return ENAS.Config(**{"controller_size": 16, "init_range": 0.1} | fields).build(space, seed)


def number(choices):
    """A loss between 0 and 2 that differs from architecture to architecture."""
    return sum((3 * edge + 2 * operation + 1) * (place + 2) % 7 for place, (edge, operation) in enumerate(choices)) / 10


def rig(favourite):
    return lambda choices, index: 0.1 if choices == favourite else 1.0


def test_route_runs_one_sample_of_the_policy_with_unit_weights(space):
    algorithm = build(space)
    routing = algorithm.route(generator(4, "route"))
    sampled = algorithm.controller.sample(1, generator(4, "route")).choices[0]
    assert routing.active == (sampled,)
    assert routing.unit
    assert not routing.weights.requires_grad
    assert routing.weights.shape == (1, *space.shape)


def test_routes_include_disconnected_architectures_and_candidates_do_not(cell):
    algorithm = build(cell)
    routed = [algorithm.route(generator(step, "route")).active[0] for step in range(150)]
    assert any(not any(operation for _, operation in choices) for choices in routed)
    judges = [judge for step in range(20) for judge in algorithm.candidates(10, generator(step, "candidates"))]
    assert len(judges) == 20 * 10
    assert all(cell.is_connected(judge) for judge in judges)


def test_candidates_are_as_many_as_asked_and_a_function_of_the_generator(space):
    algorithm = build(space)
    first, second = (algorithm.candidates(5, generator(1, "candidates")) for _ in range(2))
    assert first == second
    assert len(first) == 5
    assert first != algorithm.candidates(5, generator(2, "candidates"))


def test_candidates_of_a_policy_without_connected_samples_come_from_the_space(cell):
    algorithm = build(cell, tanh_constant=50.0, temperature=1e-3)
    collapse(algorithm, cell.architecture([(0, 0), (1, 0), (2, 0)]))
    found = algorithm.candidates(4, generator(0, "candidates"))
    assert len(found) == 4
    assert all(cell.is_connected(architecture) for architecture in found)


def collapse(algorithm, architecture):
    """Make one architecture all but certain."""
    optimizer = torch.optim.Adam(algorithm.controller.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss = -log_prob(algorithm.controller, [architecture.choices]).log_probs.sum()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 1e-3


@pytest.mark.parametrize("count", [0, 28])
def test_candidates_beyond_the_space_are_refused(cell, count):
    with pytest.raises(UserError, match=f"k is {count}; allowed: 1 to 27"):
        build(cell).candidates(count, generator(0, "candidates"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("controller_size", 0), ("updates", 0), ("samples", 0), ("derive_samples", -1), ("temperature", 0.0),
        ("tanh_constant", -1.0), ("init_range", math.inf), ("learning_rate", math.nan), ("reward_scale", 0.0),
        ("distance_weight", -0.1), ("entropy_weight", math.inf), ("baseline_decay", 0.0), ("baseline_decay", 1.5),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_its_value(field, value):
    with pytest.raises(UserError, match=f"search.{field} is {value}; allowed: ") as error:
        ENAS.Config(**{field: value})
    assert "\n" not in str(error.value)


def test_updates_take_successive_validation_batches_and_can_be_stopped_between(recurrent, judge):
    space, trainer = recurrent(), judge(lambda choices, index: number(choices))
    algorithm = build(space, updates=4, samples=12)
    for epoch in range(2):
        algorithm.end_epoch(trainer.context(epoch))
    assert sorted({index for _, index in trainer.calls}) == list(range(8))
    assert trainer.checkpoints == len(trainer.calls) >= 8
    assert max(len(architectures) for architectures, _ in trainer.calls) <= 10
    for index in range(8):
        run = [found for architectures, of in trainer.calls if of == index for found in architectures]
        assert len(run) == len(set(run)) > 1


def test_one_update_is_reinforce_with_the_reward_and_baseline_of_the_samples(space, judge):
    """The gradient an update leaves, recomputed from its samples by the formula."""
    trainer = judge(lambda choices, index: number(choices) + index)
    algorithm = build(space, updates=1, samples=8, entropy_weight=0.5).double()
    before = copy.deepcopy(algorithm)
    metrics = algorithm.end_epoch(trainer.context(2))

    rollout = before.controller.sample(8, trainer.context(2).generator("controller", 0))
    baseline, terms, rewards = 0.0, [], []
    for choices, own, bonus in zip(rollout.choices, rollout.log_probs, rollout.bonus.tolist(), strict=True):
        connected = space.is_connected(space.architecture(choices))
        loss = float(torch.tensor(number(choices) + 2)) if connected else math.inf
        rewards.append(80 / math.exp(loss) + 0.5 * bonus if connected else 0.5 * bonus)
        baseline = 0.999 * baseline + 0.001 * rewards[-1]
        terms.append(-own * (rewards[-1] - baseline))
    torch.stack(terms).mean().backward()
    for left, right in zip(algorithm.controller.parameters(), before.controller.parameters(), strict=True):
        assert (left.grad is None) == (right.grad is None)
        if left.grad is not None:
            torch.testing.assert_close(left.grad, right.grad, rtol=1e-9, atol=EXACT)
    assert float(algorithm.baseline) == pytest.approx(baseline)
    assert metrics["reward"] == pytest.approx(sum(rewards) / 8)
    assert metrics["best_reward"] == pytest.approx(max(rewards))
    assert metrics["policy_entropy"] == pytest.approx(float(rollout.entropy.mean()))


def test_a_large_update_points_along_the_exact_policy_gradient(recurrent, judge):
    space = recurrent()
    trainer = judge(lambda choices, index: number(choices))
    algorithm = build(space, updates=1, samples=4000, init_range=1.0, entropy_weight=0.0).double()
    exact = copy.deepcopy(algorithm.controller)
    choices = [architecture.choices for architecture in space.all()]
    rewards_A = torch.tensor([80 * math.exp(-number(row)) for row in choices], dtype=torch.float64)
    (-(log_prob(exact, choices).log_probs.exp() * rewards_A).sum()).backward()
    algorithm.end_epoch(trainer.context())
    found, wanted = (
        torch.cat([weight.grad.flatten() for weight in policy.parameters()]) for policy in (algorithm.controller, exact)
    )
    assert float(torch.cosine_similarity(found, wanted, dim=0)) > 0.95
    assert float(found.norm() / wanted.norm()) == pytest.approx(1.0, abs=0.2)


def test_the_policy_learns_the_best_architecture_and_derives_it(space, judge):
    favourite = space.all()[-2].choices
    trainer = judge(rig(favourite))
    algorithm = build(space, learning_rate=0.02, baseline_decay=0.9, updates=40, samples=20, tanh_constant=5.0)
    before = float(log_prob(algorithm.controller, [favourite]).log_probs.exp().detach())
    first = algorithm.end_epoch(trainer.context(0))
    after = float(log_prob(algorithm.controller, [favourite]).log_probs.exp().detach())
    last = algorithm.end_epoch(trainer.context(1))
    assert before < 0.1
    assert after > 0.5
    assert last["reward"] > first["reward"]
    assert last["policy_entropy"] < first["policy_entropy"]
    architecture, metrics = algorithm.derive(trainer.context(2))
    assert architecture.choices == favourite
    assert metrics["valid_loss"] == pytest.approx(0.1)
    assert metrics["valid_perplexity"] == pytest.approx(math.exp(0.1))


def test_derive_takes_the_lowest_loss_of_all_it_scores_on_all_batches(space, judge):
    trainer = judge(lambda choices, index: number(choices))
    algorithm = build(space, derive_samples=25)
    architecture, metrics = algorithm.derive(trainer.context())
    scored = [found for architectures, _ in trainer.calls for found in architectures]
    losses = sorted(number(found.choices) for found in scored)
    assert {index for _, index in trainer.calls} == {None}
    assert max(len(architectures) for architectures, _ in trainer.calls) <= 10
    assert len(scored) == len(set(scored)) == metrics["scored"] > 5
    assert space.architecture(algorithm.controller.greedy()) in scored
    assert all(space.is_connected(found) for found in scored)
    assert metrics["valid_loss"] == pytest.approx(losses[0]) == pytest.approx(number(architecture.choices))
    assert metrics["worst_valid_loss"] == pytest.approx(losses[-1])
    assert losses[0] <= metrics["median_valid_loss"] <= losses[-1]


def test_disconnected_samples_are_rewarded_nothing_and_never_run(cell, judge):
    trainer = judge(lambda choices, index: number(choices))
    algorithm = build(cell, updates=10, samples=10)
    drawn = [
        choices
        for update in range(10)
        for choices in algorithm.controller.sample(10, trainer.context().generator("controller", update)).choices
    ]
    assert any(not cell.is_connected(cell.architecture(choices)) for choices in drawn)
    algorithm.end_epoch(trainer.context())
    assert all(cell.is_connected(found) for architectures, _ in trainer.calls for found in architectures)


def test_an_infinite_loss_is_a_reward_of_nothing(space, judge):
    algorithm = build(space, updates=2, entropy_weight=0.0)
    metrics = algorithm.end_epoch(judge(lambda choices, index: math.inf).context())
    assert metrics["reward"] == metrics["best_reward"] == metrics["baseline"] == 0.0


def test_a_nan_loss_is_a_reward_of_nothing_as_an_infinite_one_is(recurrent, judge):
    updated = []
    for broken in (math.nan, math.inf):
        algorithm = build(recurrent())
        trainer = judge(lambda choices, index, broken=broken: broken if choices[0][1] else 1.0)
        row = algorithm.end_epoch(trainer.context(1))
        assert algorithm.derive(trainer.context(1))[0].choices[0][1] == 0
        updated.append((row, [weight.tolist() for weight in algorithm.controller.state_dict().values()]))
    assert updated[0] == updated[1]


def test_deriving_among_infinite_losses_is_refused(recurrent, judge):
    with pytest.raises(NonFiniteError, match="are not finite"):
        build(recurrent()).derive(judge(lambda choices, index: math.inf).context())


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone(recurrent, judge):
    algorithm = build(recurrent(), reward_scale=1e38)
    with torch.no_grad():
        algorithm.baseline.fill_(-3e38)
    before = copy.deepcopy(algorithm.controller.state_dict())
    with pytest.raises(NonFiniteError, match="gradient is"):
        algorithm.end_epoch(judge(lambda choices, index: 0.0).context())
    assert all(map(torch.equal, before.values(), algorithm.controller.state_dict().values()))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    rewards=st.lists(st.floats(0, 80), min_size=1, max_size=20),
    decay=st.floats(0.01, 1.0),
    start=st.floats(-80, 80),
)
def test_the_baseline_is_the_closed_form_of_a_moving_average(rewards, decay, start):
    count = len(rewards)
    baseline, advantages = follow(start, rewards, decay)
    closed = decay**count * start
    closed += sum((1 - decay) * decay ** (count - 1 - place) * reward for place, reward in enumerate(rewards))
    assert baseline == pytest.approx(closed, abs=1e-9)
    assert advantages[0] == pytest.approx(decay * (rewards[0] - start), abs=1e-9)
    assert rewards[-1] - advantages[-1] == pytest.approx(baseline, abs=1e-9)


def test_a_restart_goes_on_bit_for_bit(space, judge):
    trainer = judge(lambda choices, index: number(choices))
    fields = {"updates": 5, "learning_rate": 0.01}
    whole = build(space, seed=1, **fields)
    whole.end_epoch(trainer.context(0))
    saved = copy.deepcopy(whole.state_dict())
    resumed = build(space, seed=2, **fields)
    resumed.load_state_dict(saved)
    assert float(resumed.baseline) == float(whole.baseline) != 0.0
    assert whole.end_epoch(trainer.context(1)) == resumed.end_epoch(trainer.context(1))
    for name, value in whole.controller.state_dict().items():
        assert torch.equal(value, resumed.controller.state_dict()[name]), name
    assert torch.equal(whole.baseline, resumed.baseline)
    moments = (algorithm.optimizer.state_dict()["state"] for algorithm in (whole, resumed))
    for left, right in zip(*(state.values() for state in moments), strict=True):
        assert all(torch.equal(left[key], right[key]) for key in ("step", "exp_avg", "exp_avg_sq"))
    assert whole.derive(trainer.context(2)) == resumed.derive(trainer.context(2))


def test_equal_generators_give_equal_searches_and_the_global_one_is_not_used(space, judge):
    before = torch.get_rng_state()
    results = []
    for _ in range(2):
        trainer = judge(lambda choices, index: number(choices))
        algorithm = build(space, updates=3)
        algorithm.route(generator(0, "route"))
        metrics = algorithm.end_epoch(trainer.context())
        results.append((metrics, algorithm.candidates(3, generator(0, "c")), algorithm.derive(trainer.context(1))))
    assert results[0] == results[1]
    assert torch.equal(before, torch.get_rng_state())
