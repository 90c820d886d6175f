"""GDAS's hard samples beside their equations: what is drawn, what the gradient is, how τ falls.

Legend: E edges, O operations, B values of a node.
"""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from builders import build_space
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT

from cnas.algorithms._relaxation import Alphas, hard_sample
from cnas.algorithms.gdas import GDAS
from cnas.random import generator
from cnas.spaces.supernet import SuperNet
from cnas.types import Output

PROPERTY = settings(derandomize=True, deadline=None, max_examples=20)
OPERATIONS = (torch.zeros_like, lambda x: x, torch.square, torch.sin, torch.tanh)


def build(space, seed=2):
    """With logits that differ as much as those of a search that has learned."""
    return Alphas(space, seed, scale=1.0)


class Sums(SuperNet):
    """Every edge applies its operations to values of its own; the loss is one fixed number times each sum."""

    def __init__(self, inputs_EB, upstream_EB):
        super().__init__()
        self.inputs_EB, self.upstream_EB = inputs_EB, upstream_EB

    def forward(self, batch, routing):
        (weights_EO,), (active,) = routing.weights, routing.active
        total = 0
        for edge, inputs_B in enumerate(self.inputs_EB):
            outputs_B = sum(
                weight * OPERATIONS[operation](inputs_B) if (edge, operation) in active else weight
                for operation, weight in enumerate(weights_EO[edge])
            )
            total = total + (self.upstream_EB[edge] * outputs_B).sum()
        return Output(total, None, None, total.new_zeros(()))


@PROPERTY
@given(seed=st.integers(0, 1000), temperature=st.sampled_from([0.1, 0.7, 3.0, 10.0]))
def test_the_gradient_is_the_straight_through_one(seed, temperature):
    """What was drawn gets ⟨upstream, op(x)⟩, everything else the sum of the upstream gradient (its ones)."""
    space = build_space("nats")
    alphas, draws = build(space), generator(seed, "values")
    inputs_EB, upstream_EB = torch.randn(2, 6, 4, generator=draws, dtype=torch.float64)
    routing = hard_sample(alphas, temperature, generator(seed, "sample"))
    loss = Sums(inputs_EB, upstream_EB)(None, routing).losses
    into_weights, into_alphas = torch.autograd.grad(loss, [routing.weights, alphas.logits])
    waits_EO = torch.empty(6, 5, dtype=torch.float64).exponential_(generator=generator(seed, "sample"))
    for edge, (upstream_B, inputs_B) in enumerate(zip(upstream_EB, inputs_EB, strict=True)):
        logits = alphas.logits[edge].tolist()
        total = math.log(sum(map(math.exp, logits)))
        scores = [logit - total - math.log(wait) for logit, wait in zip(logits, waits_EO[edge].tolist(), strict=True)]
        drawn = max(range(5), key=scores.__getitem__)
        assert (edge, drawn) in routing.active[0]
        received = [float(upstream_B.sum())] * 5
        received[drawn] = float(upstream_B @ OPERATIONS[drawn](inputs_B))
        assert into_weights[0, edge].tolist() == pytest.approx(received, rel=EXACT, abs=EXACT)
        shifted = [math.exp((score - max(scores)) / temperature) for score in scores]
        probs = [value / sum(shifted) for value in shifted]
        mean = sum(prob * value for prob, value in zip(probs, received, strict=True))
        expected = [prob / temperature * (value - mean) for prob, value in zip(probs, received, strict=True)]
        assert into_alphas[edge].tolist() == pytest.approx(expected, rel=1e-9, abs=EXACT)


@pytest.mark.parametrize("name", ["nats", "enas_rnn", "darts_rnn"])
@pytest.mark.parametrize("temperature", [0.1, 10.0])
def test_a_sample_is_exactly_one_pair_of_every_mixture(name, temperature):
    space = build_space(name)
    alphas = build(space)
    for seed in range(20):
        routing = hard_sample(alphas, temperature, generator(seed, "sample"))
        (active,) = routing.active
        expected_EO = torch.zeros(space.shape, dtype=torch.float64)
        for pair in active:
            expected_EO[pair] = 1.0
        assert torch.equal(routing.weights.detach(), expected_EO[None])
        assert routing.weights.requires_grad
        assert not routing.unit
        assert [pair in group for pair, group in zip(active, space.mixtures(), strict=True)] == [True] * len(active)
        with torch.no_grad():
            plain = hard_sample(alphas, temperature, generator(seed, "sample"))
        assert (plain.active, plain.unit, plain.weights.requires_grad) == (routing.active, True, False)


@pytest.mark.parametrize("temperature", [0.1, 10.0])
def test_pairs_are_drawn_as_often_as_their_weight_says_at_every_temperature(temperature):
    space, count = build_space("darts_rnn"), 3000
    alphas = build(space)
    with torch.no_grad():
        samples = [hard_sample(alphas, temperature, generator(seed, "sample")).active[0] for seed in range(count)]
    seen = Counter(pair for active in samples for pair in active)
    weights_EO = alphas.weights().detach()
    chi_square, pairs = 0.0, [pair for group in space.mixtures() for pair in group]
    for pair in pairs:
        expected = count * float(weights_EO[pair])
        chi_square += (seen[pair] - expected) ** 2 / expected
    freedom = len(pairs) - len(space.mixtures())
    assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom)


def test_a_draw_that_is_rounded_to_zero_is_no_infinite_noise(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda self, generator: self.zero_())
    routing = hard_sample(build(build_space("nats")), 0.1, generator(0, "sample"))
    assert routing.weights.isfinite().all()
    assert float(routing.weights.detach().sum()) == 6


@pytest.mark.parametrize("epochs", [1, 2, 5, 100])
def test_the_temperature_falls_from_10_to_a_tenth_in_equal_steps(epochs):
    config = GDAS.Config()
    found = [config.at(epoch, epochs) for epoch in range(epochs)]
    assert found == pytest.approx([10 - 9.9 * epoch / max(epochs - 1, 1) for epoch in range(epochs)])
    assert (found[0], config.at(epochs, epochs)) == (10.0, pytest.approx(found[-1]))
