"""The normalisation of the NATS networks beside torch's own. Legend: C channels."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_batch_norm import everywhere
from torch import nn

from cnas.spaces.nats.norm import BatchNorm

SETTINGS = settings(derandomize=True, deadline=None, max_examples=25)
EXACT = {"rtol": 1e-11, "atol": 1e-11}
SIDES = st.integers(1, 5)


def draw(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def norms(channels, own, dtype=torch.float64):
    """(ours, torch's), in the same state."""
    mine = BatchNorm(channels, own).to(dtype)
    other = nn.BatchNorm2d(channels, affine=own, track_running_stats=own).to(dtype)
    if own:
        for seed, value in enumerate((mine.weight, mine.bias)):
            value.data = draw(seed, channels, dtype=dtype)
        other.load_state_dict(mine.state_dict())
    return mine, other


@SETTINGS
@given(seed=st.integers(0, 99), rows=st.integers(2, 4), channels=SIDES, height=SIDES, width=SIDES, own=st.booleans())
def test_the_norm_is_torchs_own(seed, rows, channels, height, width, own):
    mine, other = norms(channels, own)
    for step in range(3):
        images, grad = draw(seed + step, rows, channels, height, width), draw(seed + 50, rows, channels, height, width)
        found = []
        for norm in (mine, other):
            leaf = images.clone().requires_grad_()
            output = norm(leaf)
            found.append([output, *torch.autograd.grad(output, [leaf, *norm.parameters()], grad)])
        for one, expected in zip(*found, strict=True):
            torch.testing.assert_close(one, expected, **EXACT)
    for name, buffer in other.named_buffers():
        torch.testing.assert_close(mine.get_buffer(name), buffer, **EXACT)
    torch.testing.assert_close(mine.eval()(images), other.eval()(images), **EXACT)


@pytest.mark.parametrize("parts", [[3, 2], [5, 0], [1, 3, 1]])
@pytest.mark.parametrize("own", [True, False])
def test_shared_images_are_normalised_like_one_batch(parts, own):
    images, grad = draw(0, 5, 3, 4, 2), draw(1, 5, 3, 4, 2)
    mine, other = norms(3, own)
    leaf = images.clone().requires_grad_()
    expected = other(leaf)
    wanted = torch.autograd.grad(expected, [leaf, *other.parameters()], grad)

    def work(rank, all_sum):
        norm, own_rows = copy.deepcopy(mine), images.split(parts)[rank].clone().requires_grad_()
        output = norm(own_rows, all_sum)
        found = torch.autograd.grad(output, [own_rows, *norm.parameters()], grad.split(parts)[rank])
        return output.detach(), found, dict(norm.named_buffers())

    found = everywhere(len(parts), work)
    torch.testing.assert_close(torch.cat([output for output, _, _ in found]), expected.detach(), **EXACT)
    torch.testing.assert_close(torch.cat([slopes[0] for _, slopes, _ in found]), wanted[0], **EXACT)
    for place, slope in enumerate(wanted[1:], 1):
        torch.testing.assert_close(sum(slopes[place] for _, slopes, _ in found), slope, **EXACT)
    for _, _, buffers in found:
        for name, buffer in other.named_buffers():
            torch.testing.assert_close(buffers[name], buffer, **EXACT)


def test_half_precision_is_normalised_in_float32():
    mine, _ = norms(3, own=True, dtype=torch.float32)
    images = draw(0, 4, 3, 5, 5).bfloat16()
    assert mine(images).dtype is torch.float32
    torch.testing.assert_close(mine(images), mine(images.float()))
