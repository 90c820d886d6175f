"""The NATS supernet and its stand-alone network beside the textbook. Legend: E edges, O operations, v weights."""

import pytest
import torch
from comparing import TOLERANCES, close
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import NORMED
from textbook_nats import EDGES, forward, single_edge
from torch.nn import functional as F

from cnas.spaces import NatsSpace
from cnas.types import Batch, Routing

EVERY = tuple((edge, operation) for edge in range(6) for operation in range(5))
SPACE = NatsSpace(channels=4, cells=2, classes=5)
CELLS = 6


def example(dtype, seed=0, size=8, rows=6):
    """(supernet, batch, generator); its running averages are not where they began."""
    draws = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        supernet = SPACE.build_supernet().to(dtype)
        for name, buffer in supernet.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
        for name, parameter in supernet.named_parameters():
            if "norm" in name:
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
    images = torch.randn(rows, 3, size, size, generator=draws, dtype=dtype)
    labels = torch.randint(5, (rows,), generator=draws)
    return supernet, Batch(images, labels, torch.arange(rows)), draws


def soft(draws, dtype, cells=1):
    scores = torch.randn(cells, 6, 5, generator=draws, dtype=dtype).requires_grad_()
    return Routing(scores.softmax(-1), (EVERY,) * cells), scores


def reachable(kept_EO):
    """Whether something reaches every node: rounding decides on which side of ReLU's corner a node of zeros falls."""
    reached = {0}
    for edge, (target, source) in enumerate(EDGES):
        if source in reached and bool(kept_EO[edge, 1:].any()):
            reached.add(target)
    return len(reached) == 4


def drawn(draw, cells):
    """What is run, bool [C, E, O], in each cell drawn again until it is `reachable`."""
    found = []
    while len(found) < cells:
        kept_EO = draw()
        found += [kept_EO] * reachable(kept_EO)
    return torch.stack(found)


def active(kept_CEO):
    return tuple(tuple(pair for pair in EVERY if kept_EO[pair]) for kept_EO in kept_CEO)


def one_each(draws):
    return F.one_hot(torch.randint(5, (6,), generator=draws), 5).bool()


def hard(draws, dtype, cells=1):
    """A straight-through sample; ``none`` among it."""
    scores = torch.randn(cells, 6, 5, generator=draws, dtype=dtype).requires_grad_()
    kept_CEO, shares = drawn(lambda: one_each(draws), cells), scores.softmax(-1)
    return Routing(kept_CEO.to(dtype) - shares.detach() + shares, active(kept_CEO)), scores


def some(draws, dtype, cells=1):
    """A mixture of which only a part is run."""
    routing, scores = soft(draws, dtype, cells)
    kept_CEO = drawn(lambda: torch.rand(6, 5, generator=draws) < 0.4, cells)
    return Routing(routing.weights, active(kept_CEO)), scores


def path(draws, dtype, cells=1):
    return Routing.paths(active(drawn(lambda: one_each(draws), cells)), (6, 5)), None


KINDS = (soft, hard, some, path)


def gradients(losses, wanted):
    """Of a sum that tells the rows apart; what has none counts as zero."""
    total = (losses * torch.linspace(0.5, 2, len(losses), dtype=losses.dtype)).sum()
    found = torch.autograd.grad(total, wanted, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(one) if part is None else part for one, part in zip(wanted, found, strict=True)]


def differences(supernet, batch, routing, scores):
    """Of the outputs and of all gradients, relative to the whole."""
    found = supernet(batch, routing)
    losses, logits = forward(supernet, batch.inputs, batch.labels, routing)
    assert found.losses.dtype is losses.dtype
    wanted = [*supernet.parameters(), *([] if scores is None else [scores])]
    pairs = (
        (found.losses, losses),
        (found.logits, logits),
        [torch.cat([part.flatten() for part in gradients(each, wanted)]) for each in (found.losses, losses)],
    )
    return [float((one - other).detach().norm() / other.detach().norm().clamp_min(1)) for one, other in pairs]


@pytest.mark.parametrize("kind", KINDS)
@settings(derandomize=True, deadline=None, max_examples=8)
@given(seed=st.integers(0, 9999), apart=st.booleans(), size=st.sampled_from([4, 8]))
def test_losses_and_gradients_are_the_textbooks(kind, seed, apart, size):
    supernet, batch, draws = example(torch.float64, seed, size)
    routing, scores = kind(draws, torch.float64, CELLS if apart else 1)
    assert max(differences(supernet, batch, routing, scores)) <= NORMED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cells", [1, CELLS])
def test_in_float32_they_are_but_for_rounding(kind, cells):
    found = []
    for seed in range(5):
        supernet, batch, draws = example(torch.float32, seed)
        found.append(differences(supernet, batch, *kind(draws, torch.float32, cells)))
    # The median: a sum within rounding of zero may fall on the other side of ReLU's corner.
    losses, logits, slopes = (sorted(column)[2] for column in zip(*found, strict=True))
    outputs, tolerance = TOLERANCES[torch.float32]
    assert losses <= outputs
    # The textbook's own are this far from exact ones.
    assert logits <= 5 * outputs
    assert slopes <= tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_in_evaluation_only_stem_and_reductions_remember(kind):
    supernet, batch, draws = example(torch.float64)
    routing, scores = kind(draws, torch.float64)
    assert max(differences(supernet.eval(), batch, routing, scores)) <= NORMED


def test_gradients_are_those_of_small_steps():
    """Nothing of the textbook is used here."""
    supernet, batch, draws = example(torch.float64, seed=3)
    routing, scores = soft(draws, torch.float64, CELLS)
    wanted = [*supernet.parameters(), scores]
    found = gradients(supernet(batch, routing).losses, wanted)
    v = torch.linspace(0.5, 2, 6, dtype=torch.float64)
    for seed in range(3):
        way = [torch.randn(one.shape, generator=draws, dtype=one.dtype) for one in wanted]
        values, width = [], 1e-7
        for sign in (1, -1):
            with torch.no_grad():
                for one, part in zip(wanted, way, strict=True):
                    one.add_(part, alpha=sign * width)
                values.append(float((supernet(batch, Routing(scores.softmax(-1), (EVERY,) * CELLS)).losses * v).sum()))
                for one, part in zip(wanted, way, strict=True):
                    one.add_(part, alpha=-sign * width)
        slope = (values[0] - values[1]) / (2 * width)
        expected = sum(float((one * part).sum()) for one, part in zip(found, way, strict=True))
        assert slope == pytest.approx(expected, rel=1e-6), seed


def test_what_a_hard_sample_does_not_run_gets_the_gradient_of_the_sum():
    supernet, batch, _ = example(torch.float64, seed=5)
    choices = tuple((edge, 1) for edge in range(6))
    weights = Routing.path(choices, (6, 5)).weights.double().requires_grad_()
    losses = supernet(batch, Routing(weights, (choices,))).losses
    (grad,) = torch.autograd.grad(losses.sum(), weights)
    for edge in range(6):
        idle = grad[0, edge, [0, 2, 3, 4]]
        assert torch.equal(idle, idle[:1].expand(4))
        assert not torch.isclose(idle[0], grad[0, edge, 1])
    # Edges into one node share its gradient.
    assert grad[0, 1, 0] == grad[0, 2, 0]
    assert grad[0, 0, 0] != grad[0, 1, 0]


def test_a_path_leaves_alone_what_it_does_not_run():
    supernet, batch, _ = example(torch.float32)
    routing = SPACE.routing(SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|skip_connect~2|"))
    supernet(batch, routing).losses.sum().backward()
    moved = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    cells = {name.split("edges.")[1] for name in moved if "edges." in name}
    # Node 1 leads nowhere, and a bias would be taken away by the normalisation.
    assert cells == {"3.conv_1x1.weight"}
    assert {name for name in moved if "edges." not in name} == {
        name for name, _ in supernet.named_parameters() if "edges." not in name
    }


def copied(network, supernet, architecture):
    """A stand-alone network with the weights of the supernet; its own norms neither scale nor shift."""
    state = {name: value for name, value in supernet.state_dict().items() if "edges." not in name}
    for name, _ in network.named_parameters():
        if ".convolutions." in name and name.endswith("conv.weight"):
            cell, edge = name.split(".convolutions.")[0], int(name.split(".convolutions.")[1].split(".")[0])
            size = {2: "conv_1x1", 3: "conv_3x3"}[architecture.choices[edge][1]]
            state[name] = supernet.get_parameter(f"{cell}.edges.{edge}.{size}.weight")
    network.load_state_dict(state, strict=False)
    return network


@pytest.mark.parametrize("seed", range(4))
def test_a_stand_alone_network_is_the_path_of_its_architecture(seed):
    supernet, batch, draws = example(torch.float64, seed)
    architecture = SPACE.sample(draws)
    network = copied(SPACE.build_network(architecture).double(), supernet, architecture).train()
    losses, logits = forward(supernet, batch.inputs, batch.labels, SPACE.routing(architecture), single_edge)
    found = network.run(batch.inputs, batch.labels)
    close(found[0], losses, NORMED)
    close(found[1], logits, NORMED)
    assert found[2] is None
    assert float(found[3]) == 0
    output = network(batch.inputs, labels=batch.labels)
    close(output.logits, logits, NORMED)
    close(output.loss, losses.mean(), NORMED)
