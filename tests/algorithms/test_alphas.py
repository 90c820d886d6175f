"""α: its mixtures, its ranking of architectures, its entropy, on spaces with all kinds of mixtures."""

from __future__ import annotations

import math

import pytest
import torch
from rounding import EXACT, within

from cnas.algorithms._relaxation import Alphas
from cnas.errors import UserError
from cnas.random import generator


def build(space, spread=1.0):
    """With logits that differ as much as those of a search that has learned."""
    return Alphas(space, seed=2, scale=spread)


def by_hand(alphas, space):
    """The weights, one exponential after the other."""
    weights_EO = torch.zeros(space.shape, dtype=torch.float64)
    logits = alphas.logits.tolist()
    for group in space.mixtures():
        exponentials = [math.exp(logits[edge][operation]) for edge, operation in group]
        for pair, value in zip(group, exponentials, strict=True):
            weights_EO[pair] = value / sum(exponentials)
    return weights_EO


def test_weights_are_the_softmax_over_every_mixture(relaxed):
    alphas = build(relaxed)
    expected_EO = by_hand(alphas, relaxed)
    torch.testing.assert_close(alphas.weights().detach(), expected_EO, **within(EXACT))
    torch.testing.assert_close(alphas.log_weights(), expected_EO.log(), **within(EXACT))
    assert float(alphas.weights().detach().sum()) == pytest.approx(len(relaxed.mixtures()))


def test_the_soft_routing_runs_every_pair_of_every_mixture_and_reaches_alpha(relaxed):
    alphas = build(relaxed)
    routing = alphas.routing()
    pairs = {pair for group in relaxed.mixtures() for pair in group}
    assert len(routing.active) == 1
    assert set(routing.active[0]) == pairs
    assert len(routing.active[0]) == len(pairs)
    assert not routing.unit
    assert torch.equal(routing.weights, alphas.weights()[None])
    assert torch.autograd.gradcheck(lambda _: alphas.weights(), (alphas.logits,))


def test_pairs_in_no_mixture_have_no_weight_and_no_gradient(recurrent):
    space = recurrent()
    space.mixtures = lambda: (((0, 0), (0, 1)), ((1, 1),))
    alphas = build(space)
    weights_EO = alphas.weights()
    assert weights_EO[1:].tolist() == [[0.0, 1.0], *[[0.0, 0.0]] * 4]
    scale_EO = torch.arange(12.0, dtype=torch.float64).view(6, 2)
    (gradient_EO,) = torch.autograd.grad((weights_EO * scale_EO).sum(), [alphas.logits])
    assert gradient_EO[0].abs().min() > 0
    assert gradient_EO[1:].abs().max() == 0
    assert alphas.log_probs()[1].tolist() == [-math.inf, 0.0, -math.inf, -math.inf]
    assert alphas.best(1)[0][0][1] == -math.inf


def test_log_probs_are_those_of_the_options_of_every_decision(relaxed):
    alphas = build(relaxed)
    weights_EO = by_hand(alphas, relaxed)
    found = alphas.log_probs()
    assert len(found) == len(relaxed.decisions())
    for log_probs, decision in zip(found, relaxed.decisions(), strict=True):
        expected = [math.log(float(weights_EO[pair])) for pair in decision.options]
        assert log_probs.tolist() == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("count", [1, 5, 24])
def test_best_are_the_connected_architectures_with_the_largest_products(relaxed, count):
    alphas = build(relaxed, spread=2.0)
    weights_EO = by_hand(alphas, relaxed)
    products = {one: math.prod(float(weights_EO[pair]) for pair in one.choices) for one in relaxed.all()}
    ranked = sorted(products, key=products.__getitem__, reverse=True)
    expected = [one for one in ranked if relaxed.is_connected(one)][:count]
    found, skipped = alphas.best(count)
    assert [one for one, _ in found] == expected
    assert [math.exp(log_prob) for _, log_prob in found] == pytest.approx([products[one] for one in expected])
    assert skipped == ranked.index(expected[-1]) + 1 - count


def test_disconnected_architectures_are_passed_over_and_counted(cell):
    alphas = build(cell)
    with torch.no_grad():
        alphas.logits[:, 0] = 5.0
    found, skipped = alphas.best(2)
    assert skipped == 1
    assert all(cell.is_connected(one) for one, _ in found)


def test_more_than_there_are_is_refused_with_the_number_of_connected_ones(cell):
    alphas = build(cell)
    assert len(alphas.best(26)[0]) == 26
    with pytest.raises(UserError, match=r"^curriculum.k is 27; allowed: 1 to 26, the connected architectures of toy$"):
        alphas.best(27)
    with pytest.raises(UserError, match=r"^curriculum.k is 0; allowed: 1 to 27"):
        alphas.best(0)


def test_entropy_is_the_mean_over_the_mixtures(relaxed):
    alphas = build(relaxed, spread=0.0)
    sizes = [len(group) for group in relaxed.mixtures()]
    assert alphas.entropy() == pytest.approx(sum(map(math.log, sizes)) / len(sizes))
    with torch.no_grad():
        for group in relaxed.mixtures():
            alphas.logits[group[-1]] = 1000.0
    assert alphas.entropy() == 0.0
    assert all(-2000 < value <= 0 for values in alphas.log_probs() for value in values.tolist())


def test_logits_start_small_and_are_a_function_of_the_seed(recurrent):
    space = recurrent(nodes=12, operations=5)
    before = torch.get_rng_state()
    first, second, other = (Alphas(space, seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.logits, second.logits)
    assert not torch.equal(first.logits, other.logits)
    assert first.logits.dtype == torch.float64
    assert float(first.logits.detach().std()) == pytest.approx(1e-3, rel=0.15)
    assert list(first.state_dict()) == ["logits"]
    drawn_EO = torch.randn(space.shape, generator=generator(1, "alphas"), dtype=torch.float64)
    assert torch.equal(first.logits, 1e-3 * drawn_EO)
