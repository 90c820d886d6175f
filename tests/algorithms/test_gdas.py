"""GDAS: hard samples in both steps, τ as state, and what it shares with the algorithms that learn α."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch

from cnas.algorithms._relaxation import hard_sample
from cnas.algorithms.base import StepContext
from cnas.algorithms.gdas import GDAS
from cnas.errors import NonFiniteError, UserError
from cnas.fields import from_dict, to_dict
from cnas.random import generator


def build(space, seed=0, **fields):
    return GDAS.Config(**fields).build(space, seed)


def step(number, valid):
    """A step whose training gradients nobody may ask for."""
    return StepContext(number, lambda name: generator(5, name, number), None, valid, {}, 0.5, 0.0, 0.25)


def linear(slopes_EO, routings=None):
    """Gradients of a loss that is linear in the weights of what is run."""

    def gradients(routing, inputs, *, weights=None, weighted=False):
        assert (weights, weighted) == (None, False)
        if routings is not None:
            routings.append(routing)
        return list(torch.autograd.grad((routing.weights[0] * slopes_EO).sum(), inputs))

    return gradients


def slopes(space):
    return torch.randn(space.shape, generator=generator(0, "slopes"), dtype=torch.float64)


def test_defaults_are_those_of_nats_bench_and_survive_json(recurrent):
    config = GDAS.Config()
    assert (config.name, config.order, build(recurrent()).arch_order) == ("gdas", "after", "after")
    assert (config.learning_rate, config.betas, config.weight_decay) == (3e-4, (0.5, 0.999), 1e-3)
    changed = GDAS.Config(first_temperature=5.0, order="before")
    assert from_dict(GDAS.Config, json.loads(json.dumps(to_dict(changed)))) == changed
    assert build(recurrent(), order="before").arch_order == "before"


@pytest.mark.parametrize(
    ("field", "value"),
    [("first_temperature", 0.0), ("last_temperature", math.inf), ("last_temperature", -1.0), ("betas", (1.0, 0.5))],
)
def test_a_wrong_field_is_named_with_its_value(field, value):
    with pytest.raises(UserError) as error:
        GDAS.Config(**{field: value})
    assert str(error.value).startswith(f"search.{field} is {value!r}; allowed: ")


def test_a_weight_step_runs_a_hard_sample_without_a_graph(relaxed):
    algorithm = build(relaxed)
    routings = [algorithm.route(generator(number, "route")) for number in range(30)]
    for number, routing in enumerate(routings):
        assert routing.unit
        assert not routing.weights.requires_grad
        assert set(routing.weights.unique().tolist()) == {0.0, 1.0}
        assert len(routing.active[0]) == len(relaxed.mixtures())
        assert routing.active == algorithm.route(generator(number, "route")).active
    assert len({routing.active for routing in routings}) > 10


def test_an_arch_step_follows_a_sample_of_its_own_at_the_temperature_of_now(relaxed):
    algorithm, seen = build(relaxed), []
    algorithm.temperature.fill_(0.7)
    slopes_EO, logits = slopes(relaxed), algorithm.alphas.logits
    routing = hard_sample(algorithm.alphas, 0.7, generator(5, "gumbel", 3))
    (expected_EO,) = torch.autograd.grad((routing.weights[0] * slopes_EO).sum(), [logits])
    before = logits.detach().clone()
    algorithm.arch_step(step(3, linear(slopes_EO, seen)))
    assert torch.equal(logits.grad, expected_EO)
    assert [one.active for one in seen] == [routing.active]
    moved_EO = (logits.detach() - before).abs()
    used = expected_EO != 0
    assert bool(used.any())
    # The first step of Adam is as long as the learning rate, whatever the gradient.
    torch.testing.assert_close(moved_EO[used], torch.full_like(moved_EO[used], 3e-4), rtol=1e-3, atol=0)


def test_steps_find_the_architecture_that_validates_best(relaxed, judge):
    favourite = [one for one in relaxed.all() if relaxed.is_connected(one)][-2]
    slopes_EO = torch.zeros(relaxed.shape, dtype=torch.float64)
    for pair in favourite.choices:
        slopes_EO[pair] = -1.0
    algorithm = build(relaxed, learning_rate=0.05, first_temperature=1.0)
    for number in range(200):
        algorithm.arch_step(step(number, linear(slopes_EO)))
    trainer = judge(lambda choices, index: 0.1 if choices == favourite.choices else 1.0)
    architecture, figures = algorithm.derive(trainer.context())
    assert architecture == favourite == algorithm.candidates(1, generator(0, "c"))[0]
    assert trainer.calls == [([favourite], None)]
    assert figures["valid_loss"] == pytest.approx(0.1)


def test_judges_are_the_k_best_without_noise_or_temperature(relaxed):
    algorithm = build(relaxed)
    with torch.no_grad():
        algorithm.alphas.logits.mul_(1e3)
    first = algorithm.candidates(5, generator(0, "judges"))
    algorithm.temperature.fill_(0.1)
    assert first == algorithm.candidates(5, generator(1, "judges")) == [one for one, _ in algorithm.alphas.best(5)[0]]


def test_each_epoch_has_its_temperature_and_reports_it(relaxed, judge):
    algorithm, used = build(relaxed), []
    for epoch in range(100):
        used.append(float(algorithm.temperature))
        row = algorithm.end_epoch(judge(lambda choices, index: 0.0).context(epoch))
        assert row["temperature"] == used[-1]
        assert set(row) == {"alpha_entropy", "alphas", "operation_counts", "temperature"}
        json.dumps(row, allow_nan=False)
    assert used == pytest.approx([10 - 9.9 * epoch / 99 for epoch in range(100)])
    assert float(algorithm.temperature) == pytest.approx(0.1)


def test_a_restart_goes_on_bit_for_bit(relaxed, judge):
    valid = linear(slopes(relaxed))
    whole, resumed = build(relaxed, seed=1), build(relaxed, seed=2)
    for number in range(3):
        whole.arch_step(step(number, valid))
    whole.end_epoch(judge(lambda choices, index: 0.0).context(6))
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    for algorithm in (whole, resumed):
        algorithm.arch_step(step(3, valid))
    assert torch.equal(whole.alphas.logits, resumed.alphas.logits)
    assert float(resumed.temperature) == pytest.approx(10 - 9.9 * 7 / 99)
    assert set(whole.state_dict()) == {"alphas.logits", "temperature", "_extra_state"}


def test_a_gradient_that_is_not_finite_leaves_alpha_alone(relaxed):
    algorithm, valid = build(relaxed), linear(slopes(relaxed))
    before = algorithm.alphas.logits.detach().clone()
    with pytest.raises(NonFiniteError, match="gradient of α is nan; α was not updated"):
        algorithm.arch_step(step(0, lambda *args: [part * math.nan for part in valid(*args)]))
    assert torch.equal(algorithm.alphas.logits, before)


def test_the_global_generator_is_left_alone(relaxed):
    before = torch.get_rng_state()
    algorithm = build(relaxed)
    algorithm.route(generator(0, "route"))
    algorithm.arch_step(step(0, linear(slopes(relaxed))))
    assert torch.equal(before, torch.get_rng_state())
