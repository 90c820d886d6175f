"""The unrolled gradient of DARTS against autograd's second derivatives and against brute force, in float64.

The bilevel problem is a sum of quadratics in the weights w and the mixture a = weights(α), one for each unit:
``l_u = (w - T_u a)ᵀ H_u (w - T_u a) / 2``. The gradient of α is then linear in w, so the central difference of the
algorithm is exact up to rounding. The factor that clips a gradient counts as a constant, as it does in the DARTS code.

Legend: U units, W weights, A pairs of the mixture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
import torch
from builders import build_session, build_space, build_trainer
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT, within
from torch.func import functional_call

from cnas import spaces
from cnas.algorithms.base import StepContext
from cnas.algorithms.darts import DARTS
from cnas.random import generator
from cnas.training.batch import cut

SHAPES = {"matrix": (3, 2), "vector": (5,)}
W, U = 11, 3
PROPERTY = settings(derandomize=True, deadline=None, max_examples=25)


@dataclass
class Quadratic:
    """Mean over the units of the quadratics; gives gradients as the trainer would, and remembers what it was asked."""

    name: str
    scale: float = 1.0
    calls: list = field(default_factory=list)

    def draw(self, *shape):
        return torch.randn(shape, generator=generator(7, f"{self.name}/{shape}"), dtype=torch.float64)

    def loss(self, flat_W, mixture_A, v_U=None):
        targets_UW = self.draw(U, W, len(mixture_A)) @ mixture_A
        roots_UWW = self.draw(U, W, W) / math.sqrt(W)
        apart_UW = flat_W - targets_UW
        losses_U = (torch.einsum("uvw,uw->uv", roots_UWW, apart_UW) ** 2).sum(dim=1) / 2
        return self.scale * (losses_U if v_U is None else losses_U * v_U).mean()

    def __call__(self, routing, inputs, *, weights=None, weighted=False):
        weights = weights or WEIGHTS
        self.calls.append((routing, list(inputs), dict(weights), weighted))
        return list(
            torch.autograd.grad(self.loss(flat(weights), routing.weights.flatten(), V if weighted else None), inputs)
        )


WEIGHTS = {
    name: torch.randn(shape, generator=generator(7, name), dtype=torch.float64) for name, shape in SHAPES.items()
}
DRAWS = torch.Generator().manual_seed(11)
V = torch.tensor([0.2, 1.9, 0.9], dtype=torch.float64)


def flat(weights):
    return torch.cat([weight.flatten() for weight in weights.values()])


def problem(clip_norm=math.inf, train_scale=1.0, valid_scale=1.0, weight_decay=0.01, momentum=None, **fields):
    """(DARTS with an α that differs from pair to pair, the context of a step)."""
    algorithm = DARTS.Config(unrolled=True, **fields).build(build_space("enas_rnn"), seed=0)
    with torch.no_grad():
        algorithm.alphas.logits.mul_(1e3)
    train, valid = Quadratic("train", train_scale), Quadratic("valid", valid_scale)
    context = StepContext(0, generator, train, valid, WEIGHTS, 0.3, weight_decay, clip_norm, lambda: momentum or {})
    return algorithm, context


def gradient(algorithm, context):
    return algorithm.gradient(context)


def factor(norm, clip_norm):
    return min(1.0, clip_norm / (norm + 1e-6))


def exact(algorithm, context, v_U=None, ratio=factor):
    """(∇_α L_valid, the second-order term) by autograd; ``ratio`` gives the factor of the second one."""
    alphas = algorithm.alphas
    w = flat(WEIGHTS).requires_grad_()
    loss = context.train.loss(w, alphas.weights().flatten(), v_U)
    (g,) = torch.autograd.grad(loss, [w], create_graph=True)
    norm = float(g.detach().norm())
    step = factor(norm, context.clip_norm) * g.detach() + context.weight_decay * w.detach()
    if momentum := context.momentum():
        step = step + flat(momentum)
    stepped = (w.detach() - context.learning_rate * step).requires_grad_()
    loss = context.valid.loss(stepped, alphas.weights().flatten())
    first, u = torch.autograd.grad(loss, [alphas.logits, stepped])
    u = u * factor(float(u.norm()), context.clip_norm)
    (second,) = torch.autograd.grad(g @ u, [alphas.logits])
    return first, -context.learning_rate * ratio(norm, context.clip_norm) * second, norm


def close(left, right, rtol=1e-10):
    scale = float(right.abs().max())
    assert scale > 0
    assert float((left - right).abs().max()) <= rtol * scale


@PROPERTY
@given(
    clip_norm=st.sampled_from([0.05, 0.5, 5.0, 1e6]),
    train_scale=st.floats(0.1, 3),
    valid_scale=st.floats(0.1, 3),
    weight_decay=st.sampled_from([0.0, 5e-7, 0.1]),
    radius=st.sampled_from([0.01, 1.0]),
)
def test_it_is_autograd_s_exact_second_order_gradient(clip_norm, train_scale, valid_scale, weight_decay, radius):
    algorithm, context = problem(clip_norm, train_scale, valid_scale, weight_decay, radius=radius)
    first, second, _ = exact(algorithm, context)
    found = gradient(algorithm, context)
    close(found, first + second)
    close(found - first, second, rtol=1e-9)


def test_without_clipping_it_is_the_total_derivative():
    algorithm, context = problem(clip_norm=1e12)
    alphas = algorithm.alphas
    w = flat(WEIGHTS).requires_grad_()
    (g,) = torch.autograd.grad(context.train.loss(w, alphas.weights().flatten()), [w], create_graph=True)
    stepped = w - context.learning_rate * (g + context.weight_decay * w)
    loss = context.valid.loss(stepped, alphas.weights().flatten())
    (total,) = torch.autograd.grad(loss, [alphas.logits])
    close(gradient(algorithm, context), total)


@pytest.mark.parametrize("clip_norm", [0.7, 1e12])
def test_it_is_a_brute_force_difference_of_the_validation_loss_after_a_step(clip_norm):
    """α by α; the validation loss is small enough that its own gradient is not clipped."""
    algorithm, context = problem(clip_norm, valid_scale=1e-3)
    logits = algorithm.alphas.logits
    _, _, norm = exact(algorithm, context)
    ratio = factor(norm, clip_norm)
    assert (ratio < 0.9) == (clip_norm == 0.7)

    def after_a_step():
        mixture = algorithm.alphas.weights().flatten().detach()
        w = flat(WEIGHTS).requires_grad_()
        (g,) = torch.autograd.grad(context.train.loss(w, mixture), [w])
        stepped = w.detach() - context.learning_rate * (ratio * g + context.weight_decay * w.detach())
        return float(context.valid.loss(stepped, mixture))

    found, width = gradient(algorithm, context), 1e-4
    brute = torch.zeros_like(found)
    for place in range(logits.numel()):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                logits.view(-1)[place] += sign * width
            values.append(after_a_step())
            with torch.no_grad():
                logits.view(-1)[place] -= sign * width
        brute.view(-1)[place] = (values[0] - values[1]) / (2 * width)
    close(found, brute, rtol=1e-6)


@pytest.mark.parametrize("clip_norm", [0.5, 1e6])
def test_the_virtual_step_is_a_step_of_clipped_sgd(clip_norm):
    algorithm, context = problem(clip_norm, weight_decay=0.1)
    gradient(algorithm, context)
    weights = [torch.nn.Parameter(weight.clone()) for weight in WEIGHTS.values()]
    sgd = torch.optim.SGD(weights, lr=context.learning_rate, weight_decay=0.1)
    loss = context.train.loss(flat(dict(enumerate(weights))), algorithm.alphas.weights().flatten().detach())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, clip_norm)
    sgd.step()
    ((_, _, stepped, _),) = context.valid.calls
    assert list(stepped) == list(WEIGHTS)
    for left, right in zip(stepped.values(), weights, strict=True):
        torch.testing.assert_close(left.detach(), right.detach(), **within(EXACT))


@pytest.mark.parametrize("clip_norm", [0.5, math.inf])
def test_the_virtual_step_is_one_of_sgd_with_the_momentum_it_has(clip_norm):
    """As in NATS-Bench's unrolled step: the momentum is plain even where the weights' own is Nesterov's."""
    buffers = {name: torch.randn(shape, dtype=torch.float64, generator=DRAWS) for name, shape in SHAPES.items()}
    momentum = {name: 0.9 * buffer for name, buffer in buffers.items()}
    before = {name: value.clone() for name, value in momentum.items()}
    algorithm, context = problem(clip_norm, weight_decay=0.1, momentum=momentum)
    first, second, _ = exact(algorithm, context)
    close(gradient(algorithm, context), first + second)
    ((_, _, stepped, _),) = context.valid.calls
    weights = [torch.nn.Parameter(weight.clone()) for weight in WEIGHTS.values()]
    sgd = torch.optim.SGD(weights, lr=context.learning_rate, weight_decay=0.1, momentum=0.9)
    for weight, buffer in zip(weights, buffers.values(), strict=True):
        sgd.state[weight]["momentum_buffer"] = buffer.clone()
    loss = context.train.loss(flat(dict(enumerate(weights))), algorithm.alphas.weights().flatten().detach())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, clip_norm)
    sgd.step()
    for left, right in zip(stepped.values(), weights, strict=True):
        torch.testing.assert_close(left.detach(), right.detach(), **within(EXACT))
    assert all(torch.equal(momentum[name], before[name]) for name in SHAPES)


def test_a_weight_without_momentum_takes_none():
    some = {"vector": torch.full(SHAPES["vector"], 0.5, dtype=torch.float64)}
    (plain, with_some) = (problem(clip_norm=1.0, momentum=momentum) for momentum in (None, some))
    steps = []
    for algorithm, context in (plain, with_some):
        gradient(algorithm, context)
        ((_, _, stepped, _),) = context.valid.calls
        steps.append(stepped)
    assert torch.equal(steps[0]["matrix"], steps[1]["matrix"])
    expected = steps[0]["vector"].detach() - context.learning_rate * some["vector"]
    torch.testing.assert_close(steps[1]["vector"].detach(), expected, **within(EXACT))


def test_without_clipping_the_published_ratio_is_1():
    quirk, context = problem(math.inf, unclamped_ratio=True)
    assert torch.equal(gradient(quirk, context), gradient(*problem(math.inf)))


def test_weighted_inner_multiplies_the_training_loss_by_v_and_only_it():
    algorithm, context = problem(clip_norm=1.0, weighted_inner=True)
    first, second, _ = exact(algorithm, context, V)
    found = gradient(algorithm, context)
    close(found, first + second)
    assert [weighted for *_, weighted in context.train.calls] == [True] * 3
    assert [weighted for *_, weighted in context.valid.calls] == [False]
    plain = gradient(*problem(clip_norm=1.0))
    close(plain, sum(exact(algorithm, context)[:2]))
    assert float((found - plain).abs().max()) > 1e-3 * float(plain.abs().max())


def test_the_published_ratio_differs_where_the_gradient_is_shorter_than_the_clip():
    def raw(norm, clip_norm):
        return clip_norm / (norm + 1e-6)

    for clip_norm in (1e-2, 50.0):
        quirk, context = problem(clip_norm, unclamped_ratio=True)
        first, second, norm = exact(quirk, context, ratio=raw)
        close(gradient(quirk, context), first + second)
        plain = gradient(*problem(clip_norm))
        assert torch.equal(plain, gradient(*problem(clip_norm, unclamped_ratio=True))) == (norm > clip_norm)
        ((_, _, stepped, _),) = context.valid.calls
        plain_problem, plain_context = problem(clip_norm)
        gradient(plain_problem, plain_context)
        assert all(map(torch.equal, stepped.values(), plain_context.valid.calls[0][2].values()))


def test_a_validation_loss_that_ignores_the_weights_leaves_the_first_order():
    algorithm, context = problem(valid_scale=0.0)
    assert torch.equal(gradient(algorithm, context), torch.zeros_like(algorithm.alphas.logits))


def test_nothing_is_differentiated_in_vain_and_the_weights_are_left_alone():
    before = {name: weight.clone() for name, weight in WEIGHTS.items()}
    algorithm, context = problem(clip_norm=1.0)
    gradient(algorithm, context)
    virtual, above, below = context.train.calls
    assert not virtual[0].weights.requires_grad
    assert all(map(lambda left, right: left is right, virtual[1], virtual[2].values()))
    for routing, inputs, weights, _ in (above, below):
        assert routing.weights.requires_grad
        assert len(inputs) == 1
        assert inputs[0] is context.valid.calls[0][1][0]
        assert not any(weight.requires_grad for weight in weights.values())
    middle = (flat(above[2]) + flat(below[2])) / 2
    torch.testing.assert_close(middle, flat(WEIGHTS), **within(EXACT))
    assert float((flat(above[2]) - flat(below[2])).norm()) == pytest.approx(0.02)
    assert all(torch.equal(weight, before[name]) for name, weight in WEIGHTS.items())
    assert not any(weight.requires_grad for weight in WEIGHTS.values())


@pytest.mark.parametrize("space", [name for name in spaces.names() if spaces.space_class(name).relaxable])
@pytest.mark.parametrize(("clip_norm", "learning_rate"), [(0.05, 20.0), (100.0, 2.0)])
def test_on_a_supernet_it_is_the_derivative_of_the_validation_loss_after_a_step(
    tmp_path, space, clip_norm, learning_rate
):
    """With dropout, whose masks are those of the step in every pass; a true network needs a small radius."""
    space = build_space(space)
    # Normalised images are bent more sharply than a recurrent cell: a long step leaves what a difference can measure.
    learning_rate *= 0.02 if hasattr(space, "classes") else 1.0
    config = {"dtype": torch.float64, "max_grad_norm": clip_norm, "learning_rate": learning_rate, "weight_decay": 0.01}
    trainer = build_trainer(build_session(tmp_path), space=space, **config)
    algorithm = DARTS.Config(unrolled=True, radius=1e-5).build(trainer.parts.space, seed=0)
    alphas = algorithm.alphas
    with torch.no_grad():
        alphas.logits.mul_(500.0)
    context = trainer.bilevel.step_context(0, cut(trainer.fetch(0), 1), learning_rate, trainer.optimizer)
    batch = trainer.bilevel.valid_parts(0)[0].batch

    def train_gradients():
        leaves = {name: weight.clone().requires_grad_() for name, weight in context.weights.items()}
        return context.train(algorithm.route(generator(0, "route")), list(leaves.values()), weights=leaves)

    def clipping(gradients):
        return factor(float(flat(dict(enumerate(gradients))).norm()), clip_norm)

    ratio = clipping(train_gradients())

    def stepped():
        pairs = zip(context.weights.items(), train_gradients(), strict=True)
        return {name: weight - learning_rate * (ratio * part + 0.01 * weight) for (name, weight), part in pairs}

    def after_a_step():
        weights = stepped()
        with torch.no_grad():
            output = functional_call(trainer.parts.supernet, weights, (batch, alphas.routing()))
        return float(output.losses.double().mean())

    leaves = {name: weight.requires_grad_() for name, weight in stepped().items()}
    first, *direction = context.valid(alphas.routing(), [alphas.logits, *leaves.values()], weights=leaves)
    found, clipped = algorithm.gradient(context), clipping(direction)
    assert (ratio < 1) == (clipped < 1) == (clip_norm < 1)
    for seed in range(2):
        way = torch.randn(alphas.logits.shape, generator=generator(seed, "way"), dtype=torch.float64)
        values, width = [], 1e-5
        for sign in (1, -2):
            with torch.no_grad():
                alphas.logits.add_(way, alpha=sign * width)
            values.append(after_a_step())
        with torch.no_grad():
            alphas.logits.add_(way, alpha=width)
        slope = (values[0] - values[1]) / (2 * width)
        # Brute force does not clip the direction of the second-order term.
        expected = float((first * way).sum()) * (1 - clipped) + clipped * slope
        second = expected - float((first * way).sum())
        assert abs(second) > 5e-5
        assert float(((found - first) * way).sum()) == pytest.approx(second, rel=1e-3)
