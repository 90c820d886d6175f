"""DARTS: its mixture, its steps on α, its judges, what it derives, and that all of it survives a restart."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from rounding import EXACT, within

from cnas.algorithms import default_config
from cnas.algorithms.base import StepContext
from cnas.algorithms.darts import DARTS
from cnas.errors import NonFiniteError, UserError
from cnas.fields import from_dict, to_dict
from cnas.random import generator

ORDERS = pytest.mark.parametrize("unrolled", [False, True])


def build(space, seed=0, **fields):
    return DARTS.Config(**fields).build(space, seed)


def lean(algorithm, architecture, by=3.0):
    """Make one architecture the most probable one."""
    with torch.no_grad():
        for pair in architecture.choices:
            algorithm.alphas.logits[pair] += by


def linear(slopes_EO):
    """Gradients of a loss that falls with the weights of a mixture, and of one more for a parameter w."""

    def gradients(routing, inputs, *, weights=None, weighted=False):
        w = (weights or WEIGHTS)["w"]
        mixed = (routing.weights[0] * slopes_EO).sum()
        return list(torch.autograd.grad(mixed * (1 + w.sum()) + w.square().sum(), inputs))

    return gradients


WEIGHTS = {"w": torch.tensor([0.1, -0.2], dtype=torch.float64)}


def step(train, valid, number=0):
    return StepContext(number, generator, train, valid, WEIGHTS, 0.5, 0.0, 0.25)


def slopes(space, seed=0):
    return torch.randn(space.shape, generator=generator(seed, "slopes"), dtype=torch.float64)


def test_names_and_order_follow_the_configuration(recurrent):
    assert default_config("darts_v1") == DARTS.Config()
    assert default_config("darts_v2") == DARTS.Config(unrolled=True)
    for name in ("darts_v1", "darts_v2"):
        algorithm = default_config(name).build(recurrent(), 0)
        assert (algorithm.name, algorithm.arch_order) == (name, "before")
    assert build(recurrent(), order="after").arch_order == "after"


def test_a_configuration_comes_back_from_json():
    config = DARTS.Config(unrolled=True, betas=(0.5, 0.999), order="after")
    assert from_dict(DARTS.Config, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0), ("learning_rate", math.inf), ("radius", -0.1), ("radius", math.nan),
        ("weight_decay", -1e-9), ("weight_decay", math.nan), ("betas", (0.9,)), ("betas", (0.9, 1.0)),
        ("betas", (-0.1, 0.5)), ("betas", (math.nan, 0.5)), ("order", "never"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_its_value(field, value):
    with pytest.raises(UserError) as error:
        DARTS.Config(**{field: value})
    assert str(error.value).startswith(f"search.{field} is {value!r}; allowed: ")
    assert "\n" not in str(error.value)


def test_a_weight_step_runs_the_mixture_of_now_without_a_graph(relaxed):
    algorithm = build(relaxed)
    first = algorithm.route(generator(0, "route"))
    assert torch.equal(first.weights, algorithm.alphas.weights().detach()[None])
    assert torch.equal(first.weights, algorithm.route(generator(1, "route")).weights)
    assert first.active == algorithm.alphas.routing().active
    assert not first.weights.requires_grad
    assert not first.unit


def test_a_first_order_step_is_adam_on_the_validation_gradient(relaxed):
    algorithm = build(relaxed, learning_rate=0.01, weight_decay=0.1, betas=(0.5, 0.9))
    logits, train, valid = algorithm.alphas.logits, linear(slopes(relaxed, 1)), linear(slopes(relaxed))
    mean_EO = square_EO = torch.zeros_like(logits)
    for number in range(3):
        (gradient_EO,) = valid(algorithm.alphas.routing(), [logits])
        decayed_EO = gradient_EO + 0.1 * logits.detach()
        mean_EO = 0.5 * mean_EO + 0.5 * decayed_EO
        square_EO = 0.9 * square_EO + 0.1 * decayed_EO**2
        moved_EO = (mean_EO / (1 - 0.5 ** (number + 1))) / ((square_EO / (1 - 0.9 ** (number + 1))).sqrt() + 1e-8)
        expected_EO = logits.detach() - 0.01 * moved_EO
        algorithm.arch_step(step(train, valid, number))
        torch.testing.assert_close(logits.detach(), expected_EO, **within(EXACT))
        assert torch.equal(logits.grad, gradient_EO)


def test_a_second_order_step_follows_the_unrolled_gradient(relaxed):
    algorithm = build(relaxed, unrolled=True)
    context = step(linear(slopes(relaxed, 1)), linear(slopes(relaxed)))
    expected = algorithm.gradient(context)
    (first,) = context.valid(algorithm.alphas.routing(), [algorithm.alphas.logits])
    before = algorithm.alphas.logits.detach().clone()
    algorithm.arch_step(context)
    assert torch.equal(algorithm.alphas.logits.grad, expected)
    assert float((expected - first).norm()) > 1e-3 * float(first.norm())
    assert not torch.equal(algorithm.alphas.logits, before)


@ORDERS
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_named_and_leaves_alpha_alone(relaxed, unrolled, broken):
    algorithm = build(relaxed, unrolled=unrolled)
    sound = step(linear(slopes(relaxed, 1)), linear(slopes(relaxed)))
    algorithm.arch_step(sound)
    before = copy.deepcopy(algorithm.state_dict())

    def valid(routing, inputs, **options):
        return [gradient * broken for gradient in sound.valid(routing, inputs, **options)]

    with pytest.raises(NonFiniteError, match=r"gradient of α is (nan|inf); α was not updated"):
        algorithm.arch_step(step(sound.train, valid, 1))
    assert repr(algorithm.state_dict()) == repr(before)
    assert torch.equal(algorithm.alphas.logits, before["alphas.logits"])


@ORDERS
def test_steps_find_the_architecture_that_validates_best(relaxed, judge, unrolled):
    favourite = [one for one in relaxed.all() if relaxed.is_connected(one)][-2]
    slopes_EO = torch.zeros(relaxed.shape, dtype=torch.float64)
    for pair in favourite.choices:
        slopes_EO[pair] = -1.0
    algorithm = build(relaxed, unrolled=unrolled, learning_rate=0.05)
    first = algorithm.end_epoch(judge(lambda choices, index: 0.0).context())
    for number in range(40):
        algorithm.arch_step(step(linear(slopes_EO), linear(slopes_EO), number))
    last = algorithm.end_epoch(judge(lambda choices, index: 0.0).context())
    assert last["alpha_entropy"] < 0.9 * first["alpha_entropy"]
    trainer = judge(lambda choices, index: 0.1 if choices == favourite.choices else 1.0)
    architecture, figures = algorithm.derive(trainer.context())
    assert architecture == favourite == algorithm.candidates(1, generator(0, "c"))[0]
    assert trainer.calls == [([favourite], None)]
    weights_EO = algorithm.alphas.weights().detach()
    product = math.prod(float(weights_EO[pair]) for pair in favourite.choices)
    assert figures == {
        "valid_loss": pytest.approx(0.1),
        "valid_perplexity": pytest.approx(math.exp(0.1)),
        "log_probability": pytest.approx(math.log(product)),
        "disconnected": 0.0,
    }


def test_a_disconnected_architecture_is_neither_derived_nor_a_judge(cell, judge):
    algorithm = build(cell)
    lean(algorithm, cell.architecture([(0, 0), (1, 0), (2, 0)]), by=9.0)
    trainer = judge(lambda choices, index: 1.0)
    architecture, figures = algorithm.derive(trainer.context())
    assert sum(operation > 0 for _, operation in architecture.choices) == 1
    assert figures["disconnected"] == 1.0
    judges = algorithm.candidates(26, generator(0, "judges"))
    assert judges[0] == architecture
    assert len(set(judges)) == 26
    assert all(cell.is_connected(one) for one in judges)
    with pytest.raises(UserError, match=r"^curriculum.k is 27; allowed: 1 to 26, the connected"):
        algorithm.candidates(27, generator(0, "judges"))


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_deriving_goes_by_the_mixture_where_the_loss_is_not_finite(recurrent, judge, loss):
    expected, _ = build(recurrent()).derive(judge(lambda choices, index: 1.0).context())
    found, figures = build(recurrent()).derive(judge(lambda choices, index: loss).context())
    assert found == expected
    assert figures["valid_loss"] == math.inf


def test_an_epoch_reports_the_mixture_and_tells_a_collapse(relaxed, judge):
    algorithm = build(relaxed)
    last = len(relaxed.operations) - 1
    for decision in relaxed.decisions():
        lean(algorithm, relaxed.architecture([(decision.edges[-1], last)]))
    figures = algorithm.end_epoch(judge(lambda choices, index: 0.0).context())
    assert json.loads(json.dumps(figures)) == figures
    assert figures["alpha_entropy"] == algorithm.alphas.entropy()
    for row, weights in zip(figures["alphas"], algorithm.alphas.weights().tolist(), strict=True):
        assert row == pytest.approx(weights, rel=1e-5)
    expected = dict.fromkeys(relaxed.operations, 0) | {relaxed.operations[last]: len(relaxed.decisions())}
    assert figures["operation_counts"] == expected


@ORDERS
def test_a_restart_goes_on_bit_for_bit(relaxed, unrolled):
    context = step(linear(slopes(relaxed, 1)), linear(slopes(relaxed)))
    whole = build(relaxed, seed=1, unrolled=unrolled)
    for _ in range(3):
        whole.arch_step(context)
    resumed = build(relaxed, seed=2, unrolled=unrolled)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    for _ in range(3):
        whole.arch_step(context)
        resumed.arch_step(context)
    assert torch.equal(whole.alphas.logits, resumed.alphas.logits)
    left, right = (algorithm.optimizer.state_dict()["state"][0] for algorithm in (whole, resumed))
    assert all(torch.equal(left[key], right[key]) for key in ("step", "exp_avg", "exp_avg_sq"))
    assert set(whole.state_dict()) == {"alphas.logits", "_extra_state"}


def test_nothing_is_drawn_after_the_first_alpha(relaxed, judge):
    before = torch.get_rng_state()
    algorithm = build(relaxed, unrolled=True)
    algorithm.arch_step(step(linear(slopes(relaxed, 1)), linear(slopes(relaxed))))
    same = algorithm.candidates(4, generator(0, "judges")) == algorithm.candidates(4, generator(1, "judges"))
    algorithm.derive(judge(lambda choices, index: 1.0).context())
    assert same
    assert torch.equal(before, torch.get_rng_state())
