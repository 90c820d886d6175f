"""The DARTS supernet and its derived network against the textbook.

There are many rows and few masks, because the normalisation makes 1e-16 into 1e-8 where a unit is equal in all rows.

Legend: B rows, T tokens, H hidden units.
"""

import comparing
import pytest
import torch
from comparing import TOLERANCES, compare_outputs, example, scatter
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import NORMED, within
from textbook_darts import derived, forward

from cnas.random import DropoutSeeds
from cnas.types import Batch, Routing

SETTINGS = settings(derandomize=True, deadline=None, max_examples=40)
ROWS = 12
NOISE = DropoutSeeds(4, "test", 2, slice(1, 1 + ROWS), ROWS + 3)


@st.composite
def cases(draw):
    """Keyword arguments of `example`."""
    nodes = draw(st.integers(1, 4))
    some = st.sets(st.integers(1, nodes)).map(lambda found: tuple(sorted(found | {nodes})))
    return {
        "name": "darts_rnn",
        "dropout_seeds": NOISE,
        "nodes": nodes,
        "concat": draw(st.none() | some),
        "seed": draw(st.integers(0, 999)),
        "hidden": draw(st.integers(3, 6)),
        "length": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "carried": draw(st.booleans()),
        "rate": draw(st.sampled_from([0.0, 0.25])),
        "training": draw(st.booleans()),
    }


def compare(*arguments, **options):
    return comparing.compare(forward, *arguments, **options)


def soft_weights(space, dtype, draws):
    """Scores [1, E, O], a leaf, and their softmax over every edge's operations."""
    scores = torch.randn(1, *space.shape, generator=draws, dtype=dtype, requires_grad=True)
    return scores, scores.softmax(-1)


def every_pair(space):
    return tuple(pair for group in space.mixtures() for pair in group)


@pytest.mark.parametrize("dtype", list(TOLERANCES))
@settings(SETTINGS, max_examples=200)
@given(case=cases())
def test_the_published_mixture_is_the_textbook(dtype, case):
    space, supernet, batch, draws = example(dtype, **case)
    scores, weights = soft_weights(space, dtype, draws)
    _, gradients = compare(space, supernet, batch, Routing(weights, (every_pair(space),)), dtype, extra=[scores])
    assert all(gradient is not None for gradient in gradients)
    assert bool((gradients[-1] != 0).all())


@pytest.mark.parametrize("dtype", list(TOLERANCES))
@settings(SETTINGS, max_examples=60)
@given(case=cases())
def test_a_path_is_the_textbook(dtype, case):
    space, supernet, batch, draws = example(dtype, **case)
    compare(space, supernet, batch, space.routing(space.sample(draws)), dtype)


@pytest.mark.parametrize("dtype", list(TOLERANCES))
@settings(SETTINGS, max_examples=60)
@given(case=cases(), share=st.sampled_from([0.8, 0.5]), sparse=st.booleans())
def test_any_active_set_is_the_textbook(dtype, case, share, sparse):
    if sparse and dtype is torch.float64:
        share = 0.2
    space, supernet, batch, draws = example(dtype, **case)
    scores, weights = soft_weights(space, dtype, draws)
    pairs = every_pair(space)
    kept = (torch.rand(len(pairs), generator=draws) < share).tolist()
    active = tuple(pair for pair, keep in zip(pairs, kept, strict=True) if keep)
    compare(space, supernet, batch, Routing(weights, (active,)), dtype, extra=[scores])
    compare(space, supernet, batch, Routing(weights.detach(), (active,)), dtype)


@SETTINGS
@given(case=cases())
def test_a_hard_sample_is_the_path_and_its_gradient_reaches_what_was_not_run(case):
    space, supernet, batch, draws = example(torch.float64, **case | {"concat": None})
    path = space.routing(space.sample(draws))
    scores, weights = soft_weights(space, torch.float64, draws)
    weights.retain_grad()
    routing = Routing(path.weights.double() - weights.detach() + weights, path.active)
    found, gradients = compare(space, supernet, batch, routing, torch.float64, extra=[weights])
    expected = supernet(batch, path)
    torch.testing.assert_close(found.losses, expected.losses, **within(NORMED))
    torch.testing.assert_close(found.hidden_state, expected.hidden_state, **within(NORMED))
    reached = gradients[-1][0] != 0
    assert bool(reached[:, 1:].all())
    assert not bool(reached[:, 0].any())
    assert scores.grad is None


def test_weights_of_1_may_be_several_in_a_node():
    space, supernet, batch, _ = example(torch.float64, name="darts_rnn", dropout_seeds=NOISE, nodes=2)
    pairs = ((0, 1), (0, 2), (1, 3), (2, 4))
    routing = Routing.path(pairs, space.shape)
    assert routing.unit
    compare(space, supernet, batch, Routing(routing.weights.double(), routing.active, unit=True), torch.float64)


@pytest.mark.parametrize("dtype", list(TOLERANCES))
@SETTINGS
@given(case=cases())
def test_the_derived_network_is_the_textbook_without_normalisation(dtype, case):
    space, supernet, batch, draws = example(dtype, **case)
    architecture = space.sample(draws)
    network = space.build_network(architecture).to(dtype).train(supernet.training)
    scatter(network, draws)
    losses, logits, hidden_state, penalty = network.run(
        batch.inputs, batch.labels, batch.hidden_state, batch.dropout_seeds
    )
    assert logits is None
    masks = network.shell.masks(ROWS, batch.dropout_seeds)
    expected = derived(space, network, batch, architecture, masks)
    compare_outputs((losses, hidden_state, penalty), expected, list(network.parameters()), network.training, dtype)


@pytest.mark.parametrize("count", [1, 3, 5])
@settings(SETTINGS, max_examples=20)
@given(case=cases())
def test_many_at_once_are_as_many_single_forwards(count, case):
    space, supernet, batch, draws = example(torch.float64, **case)
    found = [space.sample(draws) for _ in range(count)]
    routings = [space.routing(architecture) for architecture in [*found[:-1], found[0]]]
    shape = (count - 1, ROWS, case["hidden"])
    hidden_states = [None, *torch.randn(shape, generator=draws, dtype=torch.float64)]
    losses_KBT, after = supernet.forward_many(batch, routings, hidden_states)
    assert losses_KBT.shape == (count, *batch.labels.shape)
    assert len(after) == count
    assert supernet.training is case["training"]
    supernet.eval()
    for index, (routing, hidden_state) in enumerate(zip(routings, hidden_states, strict=True)):
        single = supernet(Batch(batch.inputs, batch.labels, batch.unit_ids, hidden_state), routing)
        torch.testing.assert_close(losses_KBT[index], single.losses, **within(NORMED))
        torch.testing.assert_close(after[index], single.hidden_state, **within(NORMED))


def test_many_mixtures_are_as_many_single_forwards():
    space, supernet, batch, draws = example(torch.float64, name="darts_rnn", dropout_seeds=NOISE, rate=0.5)
    routings = [Routing(torch.rand(1, *space.shape, generator=draws), (every_pair(space),)) for _ in range(2)]
    losses_KBT, after = supernet.forward_many(batch, routings, [batch.hidden_state, None])
    assert not losses_KBT.requires_grad
    supernet.eval()
    for index, hidden_state in enumerate([batch.hidden_state, None]):
        with torch.no_grad():
            single = supernet(Batch(batch.inputs, batch.labels, batch.unit_ids, hidden_state), routings[index])
        assert torch.equal(losses_KBT[index], single.losses)
        assert torch.equal(after[index], single.hidden_state)


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_no_trace(training):
    space, supernet, batch, draws = example(torch.float32, name="darts_rnn", rate=0.5, training=training)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    generator_state = torch.get_rng_state()
    hidden_states = [batch.hidden_state.clone() for _ in range(3)]
    losses_KBT, after = supernet.forward_many(
        batch, [space.routing(space.sample(draws)) for _ in range(3)], hidden_states
    )
    assert supernet.training is training
    assert not losses_KBT.requires_grad
    assert not any(hidden_state.requires_grad for hidden_state in after)
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
    assert all(torch.equal(hidden_state, batch.hidden_state) for hidden_state in hidden_states)
    assert torch.equal(torch.get_rng_state(), generator_state)


@pytest.mark.parametrize("soft", [True, False])
def test_autocast_rounds_products_alone(soft):
    space, supernet, batch, draws = example(torch.float32, name="darts_rnn", dropout_seeds=NOISE, hidden=16)
    scores, weights = soft_weights(space, torch.float32, draws)
    routing = Routing(weights, (every_pair(space),)) if soft else space.routing(space.sample(draws))
    wanted = [supernet.recurrent_matrix, supernet.input_matrix, *([scores] if soft else [])]
    exact = supernet(batch, routing)
    expected = torch.autograd.grad(exact.losses.mean(), wanted, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = supernet(batch, routing)
        many, _ = supernet.forward_many(batch, [space.routing(space.sample(draws))] * 2, [batch.hidden_state, None])
    assert found.losses.dtype is found.hidden_state.dtype is many.dtype is torch.float32
    assert 0 < (found.hidden_state - exact.hidden_state).norm() < 0.05 * exact.hidden_state.norm()
    for one, other in zip(torch.autograd.grad(found.losses.mean(), wanted), expected, strict=True):
        assert one.dtype is torch.float32
        assert (one - other).norm() < 0.2 * other.norm()
