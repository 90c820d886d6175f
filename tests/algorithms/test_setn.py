"""SETN: uniform paths for the weights, the soft mixture for α, the best of what α proposes in the end."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from cnas.algorithms.base import StepContext
from cnas.algorithms.setn import SETN
from cnas.errors import NonFiniteError, UserError
from cnas.random import generator


def build(space, seed=0, **fields):
    return SETN.Config(**fields).build(space, seed)


def spread(algorithm, by=1e3):
    """Logits that differ from pair to pair."""
    with torch.no_grad():
        algorithm.alphas.logits.mul_(by)
    return algorithm


def number(choices):
    """A loss that differs from architecture to architecture."""
    return sum((3 * edge + 2 * operation + 1) * (place + 2) % 7 for place, (edge, operation) in enumerate(choices)) / 10


def test_defaults_are_those_of_nats_bench(recurrent):
    config = SETN.Config()
    assert (config.name, config.order, config.proposals) == ("setn", "after", 100)
    assert (config.learning_rate, config.betas, config.weight_decay) == (3e-4, (0.5, 0.999), 1e-3)
    assert build(recurrent()).arch_order == "after"
    with pytest.raises(UserError, match=r"^search.proposals is 0; allowed: 1 or more$"):
        SETN.Config(proposals=0)


def test_paths_are_uniform_whatever_alpha_says(cell):
    algorithm, count = spread(build(cell), 5e3), 5200
    routings = [algorithm.route(generator(step, "route")) for step in range(count)]
    assert all(routing.unit and not routing.weights.requires_grad for routing in routings)
    seen = Counter(routing.active[0] for routing in routings)
    assert len(seen) == 26
    assert all(any(operation for _, operation in choices) for choices in seen)
    expected = count / 26
    chi_square = sum((times - expected) ** 2 / expected for times in seen.values())
    assert abs(chi_square - 25) < 4 * math.sqrt(2 * 25)


def test_alpha_follows_the_validation_loss_of_the_mixture(relaxed):
    algorithm, seen = spread(build(relaxed)), []
    slopes_EO = torch.randn(relaxed.shape, generator=generator(0, "slopes"), dtype=torch.float64)

    def valid(routing, inputs, *, weights=None, weighted=False):
        seen.append((routing.active, weights, weighted))
        return list(torch.autograd.grad((routing.weights[0] * slopes_EO).sum(), inputs))

    (expected_EO,) = torch.autograd.grad((algorithm.alphas.weights() * slopes_EO).sum(), [algorithm.alphas.logits])
    algorithm.arch_step(StepContext(0, generator, None, valid, {}, 0.5, 0.0, 0.25))
    assert torch.equal(algorithm.alphas.logits.grad, expected_EO)
    assert seen == [(algorithm.alphas.routing().active, None, False)]


def test_derive_takes_the_lowest_loss_among_the_proposals_of_alpha(relaxed, judge):
    algorithm = spread(build(relaxed, proposals=12))
    proposals = [one for one, _ in algorithm.alphas.best(12)[0]]
    trainer = judge(lambda choices, index: number(choices))
    architecture, figures = algorithm.derive(trainer.context())
    assert [one for architectures, _ in trainer.calls for one in architectures] == proposals
    assert {index for _, index in trainer.calls} == {None}
    losses = [number(one.choices) for one in proposals]
    assert architecture == proposals[losses.index(min(losses))]
    assert (figures["scored"], figures["valid_loss"]) == (12, pytest.approx(min(losses)))
    weights_EO = algorithm.alphas.weights().detach()
    product = math.prod(float(weights_EO[pair]) for pair in architecture.choices)
    assert figures["log_probability"] == pytest.approx(math.log(product))
    assert figures["disconnected"] >= 0


def test_a_space_with_fewer_architectures_than_proposals_is_scored_whole(cell, judge):
    algorithm = build(cell)
    with torch.no_grad():
        algorithm.alphas.logits[:, 0] = 5.0
    architecture, figures = algorithm.derive(judge(lambda choices, index: number(choices)).context())
    every = [one for one in cell.all() if cell.is_connected(one)]
    assert figures["scored"] == len(every) == 26
    assert figures["disconnected"] == 1
    assert number(architecture.choices) == min(number(one.choices) for one in every)


def test_judges_are_the_k_best(relaxed):
    algorithm = spread(build(relaxed))
    assert algorithm.candidates(5, generator(0, "judges")) == [one for one, _ in algorithm.alphas.best(5)[0]]


@pytest.mark.parametrize(("loss", "word"), [(math.nan, "not finite"), (math.inf, "not finite")])
def test_deriving_what_does_not_validate_is_refused(recurrent, judge, loss, word):
    with pytest.raises(NonFiniteError, match=word):
        build(recurrent()).derive(judge(lambda choices, index: loss).context())
