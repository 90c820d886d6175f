"""The policy: a distribution over all architectures, sampled and differentiated as it should be.

Legend: A architectures, K samples.
"""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT, within

from cnas.algorithms._controller import Controller, ControllerConfig
from cnas.random import generator
from cnas.spaces.base import Decision


def policy(space, init_range=1.0, seed=3, distance_weight=1 / 6):
    """In float64, and with weights large enough that the options differ."""
    config = ControllerConfig(controller_size=16, distance_weight=distance_weight, init_range=init_range)
    return Controller(space.decisions(), seed, config).double()


def rows(space):
    return [architecture.choices for architecture in space.all()]


def log_prob(controller, choices):
    """The figures of given architectures, one sequence of choices each."""
    picks_KS = torch.tensor([picks(controller, row) for row in choices])
    return controller._write(len(choices), lambda _, step: picks_KS[:, step])


def picks(controller, choices):
    """The places of a node's edge, where it has several, and of its operation among their options."""
    found = []
    for decision, (edge, operation) in zip(controller.decisions, choices, strict=True):
        found += [decision.edges.index(edge)] if len(decision.edges) > 1 else []
        found.append(decision.operations.index(operation))
    return found


def test_probabilities_of_all_architectures_sum_to_one_and_differ(space):
    log_probs_A = log_prob(policy(space), rows(space)).log_probs.detach()
    assert len(log_probs_A) == space.size
    assert abs(float(log_probs_A.exp().sum()) - 1) < EXACT
    assert float(log_probs_A.std()) > 0.05


def test_sample_and_log_prob_agree_on_every_figure(space):
    controller = policy(space)
    sampled = controller.sample(50, generator(0, "sample"))
    forced = log_prob(controller, sampled.choices)
    assert forced.choices == sampled.choices
    for name in ("log_probs", "bonus", "entropy"):
        torch.testing.assert_close(getattr(sampled, name), getattr(forced, name), **within(EXACT))


def test_frequencies_follow_the_probabilities(space):
    controller, count = policy(space), 20_000
    with torch.no_grad():
        seen = Counter(controller.sample(count, generator(0, "sample")).choices)
        probs_A = log_prob(controller, rows(space)).log_probs.exp()
    observed_A = torch.tensor([float(seen[choices]) for choices in rows(space)])
    chi_square = float(((observed_A - count * probs_A) ** 2 / (count * probs_A)).sum())
    freedom = space.size - 1
    assert sum(seen.values()) == count
    assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom)


def test_policy_gradient_in_expectation_is_the_gradient_of_the_expected_reward(space):
    controller, baseline = policy(space), 0.7
    rewards_A = torch.rand(space.size, generator=generator(0, "reward"), dtype=torch.float64)
    weights = list(controller.parameters())

    log_probs_A = log_prob(controller, rows(space)).log_probs
    expected = torch.autograd.grad((log_probs_A.exp() * rewards_A).sum(), weights, allow_unused=True)
    log_probs_A = log_prob(controller, rows(space)).log_probs
    estimator = (log_probs_A.detach().exp() * (rewards_A - baseline) * log_probs_A).sum()
    found = torch.autograd.grad(estimator, weights, allow_unused=True)

    assert max(float(part.abs().max()) for part in expected if part is not None) > 1e-4
    for left, right in zip(found, expected, strict=True):
        assert (left is None) == (right is None)
        if left is not None:
            torch.testing.assert_close(left, right, rtol=0, atol=1e-10)


def test_mean_entropy_over_the_policy_is_the_entropy_of_the_policy(space):
    rollout = log_prob(policy(space), rows(space))
    log_probs_A = rollout.log_probs.detach()
    probs_A = log_probs_A.exp()
    assert float((probs_A * rollout.entropy).sum()) == pytest.approx(-float((probs_A * log_probs_A).sum()))
    assert not rollout.entropy.requires_grad
    assert not rollout.bonus.requires_grad


def test_bonus_counts_only_the_options_taken(cell):
    """Every operation has probability 1/3 where the weights are nearly zero, and the three picks are independent."""
    rollout = policy(cell, init_range=1e-9).sample(4, generator(0, "sample"))
    torch.testing.assert_close(rollout.bonus, torch.full((4,), math.log(3), dtype=torch.float64))
    torch.testing.assert_close(rollout.entropy, torch.full((4,), 3 * math.log(3), dtype=torch.float64))


@pytest.mark.parametrize("weight", [0.0, 1 / 6, 1.0])
def test_at_the_start_sources_follow_the_distance_prior_alone(recurrent, weight):
    space = recurrent()
    controller = policy(space, init_range=1e-6, distance_weight=weight)
    probs_A = log_prob(controller, rows(space)).log_probs.exp().detach()
    last = space.decisions()[-1]
    found = [sum(float(p) for p, row in zip(probs_A, rows(space), strict=True) if row[-1][0] == e) for e in last.edges]
    prior = [math.exp(-weight * (last.target - source) ** 2) for source in last.sources]
    assert found == pytest.approx([value / sum(prior) for value in prior], abs=1e-9)


def test_logits_stay_within_the_tanh_constant_whatever_the_weights(cell):
    """Three bounded picks: no architecture can become rarer than the bound allows."""
    log_probs_A = log_prob(policy(cell, init_range=100.0), rows(cell)).log_probs.detach()
    rarest = 3 * (-2.25 - math.log(math.exp(-2.25) + 2 * math.exp(2.25)))
    assert float(log_probs_A.min()) >= rarest - EXACT


def test_greedy_takes_the_most_probable_option_of_every_step(space):
    controller = policy(space, seed=5)
    greedy, probs = controller.greedy(), {}
    for choices, value in zip(rows(space), log_prob(controller, rows(space)).log_probs.tolist(), strict=True):
        for length in range(len(choices) + 1):
            probs[choices[:length]] = probs.get(choices[:length], 0.0) + math.exp(value)
    for length, decision in enumerate(space.decisions()):
        by_edge = {
            edge: sum(probs[(*greedy[:length], (edge, o))] for o in decision.operations) for edge in decision.edges
        }
        edge, operation = greedy[length]
        assert by_edge[edge] == max(by_edge.values())
        assert probs[greedy[: length + 1]] == max(probs[(*greedy[:length], (edge, o))] for o in decision.operations)
        assert operation in decision.operations


def test_samples_of_one_call_do_not_depend_on_each_other(recurrent):
    """The figures of an architecture are the same alone and amid others: each has its own state and anchors."""
    space = recurrent(nodes=4, operations=3)
    controller = policy(space)
    choices = controller.sample(6, generator(0, "sample")).choices
    batched = log_prob(controller, choices).log_probs
    alone = torch.cat([log_prob(controller, [row]).log_probs for row in choices])
    torch.testing.assert_close(batched, alone, **within(EXACT))


def test_building_and_sampling_leave_the_global_generator_alone(space):
    before = torch.get_rng_state()
    controller = policy(space)
    controller.sample(3, generator(0, "sample"))
    controller.greedy()
    assert torch.equal(before, torch.get_rng_state())


def test_equal_seeds_build_equal_policies_within_the_range(space):
    first, second, other = (policy(space, init_range=0.01, seed=seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    assert not torch.equal(first.embedding, other.embedding)
    weights = torch.cat([weight.detach().flatten() for weight in first.parameters()])
    assert 0.0099 < float(weights.abs().max()) <= 0.01
    assert abs(float(weights.mean())) < 5e-4
    assert first.sample(5, generator(0, "s")).choices == second.sample(5, generator(0, "s")).choices


def by_hand(controller, decisions, choices):
    """The log-probability of one architecture, written out pick by pick on vectors as `enas_lm` describes it."""
    weight = {name: value.detach() for name, value in controller.named_parameters()}
    hidden = cell = torch.zeros(len(weight["first"]), dtype=torch.float64)
    anchors, given, total = {0: torch.zeros_like(hidden)}, weight["first"], 0.0

    def step(given, hidden, cell):
        gates = weight["lstm.weight_ih"] @ given + weight["lstm.weight_hh"] @ hidden
        enter, forget, new, leave = gates.chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        return leave.sigmoid() * cell.tanh(), cell

    for decision, (edge, operation) in zip(decisions, choices, strict=True):
        hidden, cell = step(given, hidden, cell)
        begin = hidden
        if len(decision.edges) > 1:
            scores = []
            for source in decision.sources:
                attended = (weight["key"].T @ anchors[source] + weight["query"].T @ hidden).tanh() @ weight["attention"]
                scores.append(2.25 * math.tanh(attended / 5) - (decision.target - source) ** 2 / 6)
            place = decision.edges.index(edge)
            total += scores[place] - math.log(sum(map(math.exp, scores)))
            source = decision.sources[place]
            hidden, cell = step(anchors[source] / (0.1 + decision.target - source), hidden, cell)
        anchors[decision.target] = begin
        scores = [2.25 * math.tanh(float(weight["embedding"][option] @ hidden) / 5) for option in decision.operations]
        total += scores[decision.operations.index(operation)] - math.log(sum(map(math.exp, scores)))
        given = weight["embedding"][operation]
    return total


def test_probabilities_are_those_of_the_published_controller(recurrent):
    space = recurrent(nodes=5, operations=4)
    controller = policy(space)
    choices = controller.sample(12, generator(0, "sample")).choices
    found = log_prob(controller, choices).log_probs.tolist()
    assert found == pytest.approx([by_hand(controller, space.decisions(), row) for row in choices], abs=EXACT)


@settings(derandomize=True, deadline=None, max_examples=12)
@given(data=st.data())
def test_any_decisions_give_a_distribution_over_their_own_options(data):
    """Several decisions a node, gaps in the operations, sources nobody decides: all sums to one."""
    decisions, edge = [], 0
    for target in range(2, 2 + data.draw(st.integers(1, 3), label="decisions")):
        sources = tuple(data.draw(st.lists(st.integers(0, target - 1), min_size=1, max_size=3), label="sources"))
        operations = tuple(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True), label="ops"))
        decisions.append(Decision(target, tuple(range(edge, edge + len(sources))), sources, operations))
        edge += len(sources)
    controller = Controller(decisions, 0, ControllerConfig(controller_size=8, init_range=1.0)).double()
    choices = [()]
    for decision in decisions:
        choices = [(*row, option) for row in choices for option in decision.options]
    assert float(log_prob(controller, choices).log_probs.detach().exp().sum()) == pytest.approx(1.0, abs=EXACT)
    assert set(controller.sample(20, generator(0, "sample")).choices) <= set(choices)
    assert controller.greedy() in choices
