"""The ENAS supernet against the textbook. Legend: B sequences, T tokens, H hidden units, K candidates."""

import comparing
import pytest
import torch
from comparing import TOLERANCES, example
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import NORMED, within
from textbook import forward

from cnas.types import Batch, Routing

SETTINGS = settings(derandomize=True, deadline=None, max_examples=30)
CASES = {
    "seed": st.integers(0, 999),
    "nodes": st.integers(1, 4),
    "hidden": st.integers(1, 6),
    "length": st.integers(1, 5),
    "bias": st.booleans(),
    "carried": st.booleans(),
    "rate": st.sampled_from([0.0, 0.5]),
    "training": st.booleans(),
    "penalised_output": st.sampled_from(["raw", "dropped"]),
}


def compare(*arguments, **options):
    return comparing.compare(forward, *arguments, **options)


@pytest.mark.parametrize("dtype", list(TOLERANCES))
@SETTINGS
@given(**CASES)
def test_a_path_is_the_textbook(dtype, **case):
    space, supernet, batch, draws = example(dtype, **case)
    routing = space.routing(space.sample(draws))
    _, gradients = compare(space, supernet, batch, routing, dtype)
    used = sum(gradient is not None for gradient in gradients)
    assert used == 3 + case["bias"] + case["nodes"]


@pytest.mark.parametrize("dtype", list(TOLERANCES))
@settings(SETTINGS, max_examples=8)
@given(**CASES)
def test_a_soft_mixture_is_the_weighted_sum(dtype, **case):
    space, supernet, batch, draws = example(dtype, **case)
    scores = torch.randn(1, *space.shape, generator=draws, dtype=dtype, requires_grad=True)
    every = tuple(pair for decision in space.decisions() for pair in decision.options)
    routing = Routing(scores.softmax(-1), (every,))
    _, gradients = compare(space, supernet, batch, routing, dtype, extra=[scores])
    assert all(gradient is not None for gradient in gradients)


@settings(SETTINGS, max_examples=8)
@given(**CASES)
def test_a_hard_sample_is_the_path_and_its_gradient_reaches_what_was_not_run(**case):
    space, supernet, batch, draws = example(torch.float64, **case)
    architecture = space.sample(draws)
    path = space.routing(architecture)
    soft = torch.randn(1, *space.shape, generator=draws, dtype=torch.float64, requires_grad=True)
    weights = path.weights.double() - soft.detach() + soft
    routing = Routing(weights, path.active)
    found, gradients = compare(space, supernet, batch, routing, torch.float64, extra=[soft])
    expected = supernet(batch, path)
    torch.testing.assert_close(found.losses, expected.losses, **within(NORMED))
    torch.testing.assert_close(found.hidden_state, expected.hidden_state, **within(NORMED))
    assert bool((gradients[-1] != 0).all())


@SETTINGS
@given(**CASES)
def test_the_derived_network_with_inherited_weights_is_the_path(**case):
    space, supernet, batch, draws = example(torch.float32, **case)
    architecture = space.sample(draws)
    network = space.build_network(architecture).train(supernet.training)
    with torch.no_grad():
        network.shell.load_state_dict(supernet.shell.state_dict())
        network.cell.input_matrix.copy_(supernet.input_matrix)
        network.cell.recurrent_matrix.copy_(supernet.recurrent_matrix)
        for matrix, (edge, operation) in zip(network.cell.matrices, architecture.choices, strict=True):
            matrix.copy_(supernet.matrix(edge, operation))
    expected = supernet(batch, space.routing(architecture))
    losses, logits, hidden_state, penalty = network.run(
        batch.inputs, batch.labels, batch.hidden_state, batch.dropout_seeds
    )
    assert logits is None
    assert torch.equal(losses, expected.losses)
    assert torch.equal(hidden_state, expected.hidden_state)
    assert torch.equal(penalty, expected.penalty)


def several(space, draws, count):
    """``count`` architectures; where there are more than two, the last is the first again."""
    found = [space.sample(draws) for _ in range(count)]
    return [*found[:-1], found[0]] if count > 2 else found


@pytest.mark.parametrize("count", [1, 3, 5])
@settings(SETTINGS, max_examples=10)
@given(**CASES)
def test_many_at_once_are_as_many_single_forwards(count, **case):
    space, supernet, batch, draws = example(torch.float64, **case)
    routings = [space.routing(architecture) for architecture in several(space, draws, count)]
    hidden = case["hidden"]
    hidden_states = [None, *torch.randn(count - 1, 2, hidden, generator=draws, dtype=torch.float64)]
    losses_KBT, after = supernet.forward_many(batch, routings, hidden_states)
    assert losses_KBT.shape == (count, *batch.labels.shape)
    assert len(after) == count
    supernet.eval()
    for index, (routing, hidden_state) in enumerate(zip(routings, hidden_states, strict=True)):
        single = supernet(Batch(batch.inputs, batch.labels, batch.unit_ids, hidden_state), routing)
        torch.testing.assert_close(losses_KBT[index], single.losses, **within(NORMED))
        torch.testing.assert_close(after[index], single.hidden_state, **within(NORMED))


def test_many_mixtures_are_as_many_single_forwards():
    space, supernet, batch, draws = example(torch.float64, rate=0.5)
    every = tuple(pair for decision in space.decisions() for pair in decision.options)
    routings = [Routing(torch.rand(1, *space.shape, generator=draws), (every,)) for _ in range(2)]
    losses_KBT, after = supernet.forward_many(batch, routings, [batch.hidden_state, None])
    assert not losses_KBT.requires_grad
    assert supernet.training
    supernet.eval()
    for index, hidden_state in enumerate([batch.hidden_state, None]):
        with torch.no_grad():
            single = supernet(Batch(batch.inputs, batch.labels, batch.unit_ids, hidden_state), routings[index])
        assert torch.equal(losses_KBT[index], single.losses)
        assert torch.equal(after[index], single.hidden_state)


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_no_trace(training):
    space, supernet, batch, draws = example(torch.float32, rate=0.5, training=training)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    generator_state = torch.get_rng_state()
    routings = [space.routing(architecture) for architecture in several(space, draws, 3)]
    hidden_states = [batch.hidden_state.clone() for _ in routings]
    losses_KBT, after = supernet.forward_many(batch, routings, hidden_states)
    assert supernet.training is training
    assert not losses_KBT.requires_grad
    assert not any(hidden_state.requires_grad for hidden_state in after)
    assert all(parameter.grad is None for parameter in supernet.parameters())
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
    assert all(torch.equal(hidden_state, batch.hidden_state) for hidden_state in hidden_states)
    assert torch.equal(torch.get_rng_state(), generator_state)
