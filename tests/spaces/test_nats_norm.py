"""The normalisation of the NATS networks beside torch's own. Legend: B images, C channels."""

import copy
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import NORMED, within
from test_batch_norm import everywhere
from torch import nn
from torch.nn import functional as F

from cnas.spaces.nats.norm import BatchNorm
from cnas.spaces.nats.supernet import SearchCell

SETTINGS = settings(derandomize=True, deadline=None, max_examples=25)
EXACT = within(NORMED)
SIDES = st.integers(1, 5)
ORDERS = torch.contiguous_format, torch.channels_last


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
@given(
    seed=st.integers(0, 99),
    rows=st.integers(2, 4),
    channels=SIDES,
    height=SIDES,
    width=SIDES,
    own=st.booleans(),
    last=st.booleans(),
)
def test_the_norm_is_torchs_own(seed, rows, channels, height, width, own, last):
    mine, other = norms(channels, own)
    for step in range(3):
        images, grad = draw(seed + step, rows, channels, height, width), draw(seed + 50, rows, channels, height, width)
        found = []
        for norm in (mine, other):
            leaf = images.contiguous(memory_format=ORDERS[last]).requires_grad_()
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

    def work(rank, all_reduce_sum):
        norm, own_rows = copy.deepcopy(mine), images.split(parts)[rank].clone().requires_grad_()
        output = norm(own_rows, all_reduce_sum)
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


@pytest.mark.parametrize("own", [True, False])
def test_a_single_pixel_is_its_own_mean(own):
    norm, _ = norms(3, own)
    assert torch.equal(norm(draw(0, 1, 3, 1, 1)).flatten(), norm.bias if own else torch.zeros(3).double())
    assert all(bool(buffer.isfinite().all()) for buffer in norm.buffers())


def convolved(values, kernel):
    """By a plain convolution and torch's normalisation."""
    return F.batch_norm(F.conv2d(values.relu(), kernel, padding=kernel.shape[-1] // 2), None, None, training=True)


def with_slopes(function, values, kernel, grad):
    """(output, gradients of values and kernel), in their dtype."""
    leaves = [each.detach().clone().requires_grad_() for each in (values, kernel)]
    output = function(*leaves)
    return [output.detach(), *torch.autograd.grad(output, leaves, grad)]


def in_a_cell(values, kernel, all_reduce_sum=None):
    """By a search cell of which nothing else is run."""
    size = kernel.shape[-1]
    values_of = {f"edges.3.conv_{size}x{size}.weight": kernel}
    arguments = values, ((3, {1: 2, 3: 3}[size]),), None, all_reduce_sum
    return torch.func.functional_call(SearchCell(len(kernel)), values_of, arguments)


@pytest.mark.parametrize("ratio", [100, 1000])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("all_reduce_sum", [None, lambda values: values])
def test_a_small_spread_around_a_large_mean_is_kept_as_torch_keeps_it(ratio, size, all_reduce_sum):
    """In float32 beside float64; |mean|/std of what comes in is ``ratio``.

    A convolution makes 2n roundings of at most u·(|W|·|x|) each for n products, u = 2^-24, which the norm divides by
    the standard deviation; independent ones add up like their squares. The norm's own are fewer. Channels are last in
    memory here and first in what stands beside it, where torch's normalisation is at its most exact.
    """
    kernel = draw(0, 8, 8, size, size, dtype=torch.float32) / (8 * size**2) ** 0.5
    values = (ratio + draw(1, 16, 8, 32, 32, dtype=torch.float32)).contiguous(memory_format=torch.channels_last)
    grad = draw(2, 16, 8, 32, 32, dtype=torch.float32)
    exact = with_slopes(convolved, *(each.double() for each in (values, kernel, grad)))
    found = with_slopes(partial(in_a_cell, all_reduce_sum=all_reduce_sum), values, kernel, grad)
    beside = with_slopes(convolved, values.contiguous(), kernel, grad)
    convolve = partial(F.conv2d, padding=size // 2)
    largest_C = convolve(values.double().abs(), kernel.double().abs()).amax((0, 2, 3))
    spread_C = convolve(values.double(), kernel.double()).std((0, 2, 3), correction=0)
    bound_C = (2 * kernel[0].numel()) ** 0.5 * 2**-24 * largest_C / spread_C
    assert bool(((found[0] - exact[0]).square().mean((0, 2, 3)).sqrt() <= bound_C).all())
    for mine, other, whole in zip(found, beside, exact, strict=True):
        assert float((mine - whole).norm()) <= 3 * float((other - whole).norm()) + 2**-22 * float(whole.norm())


def test_half_precision_is_normalised_in_float32():
    mine, _ = norms(3, own=True, dtype=torch.float32)
    images = draw(0, 4, 3, 5, 5).bfloat16()
    assert mine(images).dtype is torch.float32
    torch.testing.assert_close(mine(images), mine(images.float()))
