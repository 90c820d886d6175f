"""A supernet beside a textbook version of it. Legend: B sequences, T tokens, H hidden units."""

import torch
from builders import WORDS, build_space
from rounding import EXACT, NORMED, SINGLE

from cnas.random import DropoutSeeds
from cnas.types import Batch

NOISE = DropoutSeeds(4, "test", 2, slice(1, 3), 5)
TOLERANCES = {
    torch.float64: (NORMED, NORMED),
    torch.float32: (SINGLE, SINGLE),
}
"""Of outputs and of gradients, with norms or without."""


def example(
    dtype, seed=0, hidden=4, length=4, bias=False, carried=True, rate=0.0, training=True, dropout_seeds=NOISE, **space
):
    """(space, supernet, batch, generator); two rows of a global batch of five unless ``dropout_seeds`` says otherwise.

    ``space`` are the name of the space and its own fields.
    """
    draws = torch.Generator().manual_seed(seed)
    space = build_space(
        **{"nodes": 3} | space,
        hidden_size=hidden,
        decoder_bias=bias,
        activation_penalty=0.5,
        tar=0.25,
        **{f"dropout_{name}": rate for name in ("words", "embedding", "input", "hidden", "output")},
    )
    supernet = space.build_supernet().to(dtype).train(training)
    scatter(supernet, draws)
    rows = dropout_seeds.rows.stop - dropout_seeds.rows.start
    text = torch.randint(WORDS, (rows, length + 1), generator=draws)
    hidden_state = torch.randn(rows, hidden, generator=draws, dtype=dtype) if carried else None
    batch = Batch(text[:, :-1], text[:, 1:], torch.zeros_like(text[:, 1:]), hidden_state, dropout_seeds)
    return space, supernet, batch, draws


@torch.no_grad()
def scatter(network, draws):
    """New weights, uniform between -0.5 and 0.5."""
    for parameter in network.parameters():
        parameter.copy_(torch.rand(parameter.shape, generator=draws, dtype=parameter.dtype) - 0.5)


def total(losses, penalty):
    """A scalar that tells all positions apart, like weights v do."""
    return (losses * torch.linspace(0.5, 2, losses.numel()).view(losses.shape)).sum() + penalty


def compare(forward, space, supernet, batch, routing, dtype, extra=()):
    """Outputs and all gradients of the supernet are those of the textbook's ``forward``, missing gradients too."""
    found = supernet(batch, routing)
    masks = supernet.shell.masks(len(batch.inputs), batch.dropout_seeds)
    expected = forward(space, supernet, batch, routing, masks)
    wanted = [*supernet.parameters(), *extra]
    outputs = (found.losses, found.hidden_state, found.penalty)
    bounds = (EXACT, EXACT) if dtype is torch.float64 and not space.batch_statistics else None
    return found, compare_outputs(outputs, expected, wanted, supernet.training, dtype, bounds)


def compare_outputs(found, expected, wanted, training, dtype, bounds=None):
    """`compare` of two (losses, carry, penalty); returns the gradients of what is ``wanted``."""
    outputs, gradients = bounds or TOLERANCES[dtype]
    losses, hidden_state, penalty = expected
    expected = losses, hidden_state, penalty if training else torch.zeros_like(penalty)
    assert found[0].dtype is dtype
    for one, other in zip(found, expected, strict=True):
        close(one, other, outputs)
    mine = torch.autograd.grad(total(found[0], found[2]), wanted, allow_unused=True, retain_graph=True)
    theirs = torch.autograd.grad(total(losses, expected[2]), wanted, allow_unused=True, retain_graph=True)
    for one, other in zip(mine, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            close(one, other, gradients)
    return mine


def close(one, other, tolerance):
    """Raise unless the difference is small beside the whole, or beside 1 where the whole is less."""
    assert one.shape == other.shape
    assert one.dtype is other.dtype
    assert (one - other).norm() <= tolerance * other.norm().clamp_min(1)
