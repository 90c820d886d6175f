"""The normalisation and the pooling of the NATS networks beside torch's own. Legend: C channels."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import NORMED, within
from test_batch_norm import everywhere
from torch import nn
from torch.nn import functional as F

from cnas.spaces.nats.norm import BatchNorm
from cnas.spaces.nats.pooling import pool, pool_as_step, pool_gradient
from cnas.spaces.nats.total import Total

SETTINGS = settings(derandomize=True, deadline=None, max_examples=25)
EXACT = within(NORMED)
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


@SETTINGS
@given(seed=st.integers(0, 99), height=SIDES, width=SIDES, last=st.booleans())
def test_the_pool_is_torchs_own(seed, height, width, last):
    images = draw(seed, 2, 3, height, width)
    grad = draw(seed + 1, 2, 3, height, width)
    if last:
        images, grad = (each.contiguous(memory_format=torch.channels_last) for each in (images, grad))
    leaf = images.clone().requires_grad_()
    expected = F.avg_pool2d(leaf, 3, stride=1, padding=1, count_include_pad=False)
    (slope,) = torch.autograd.grad(expected, leaf, grad)
    torch.testing.assert_close(pool(images), expected.detach(), **EXACT)
    torch.testing.assert_close(pool_gradient(grad), slope, **EXACT)
    rooms = [torch.full_like(images, torch.nan) for _ in range(2)]
    assert torch.equal(pool(images, *rooms), pool(images))
    other = images.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(pool_as_step(other), other, grad)[0], slope, **EXACT)


@SETTINGS
@given(st.lists(st.sampled_from(["add", "scaled", "product", "shift"]), max_size=5), st.booleans(), st.booleans())
def test_a_total_is_the_sum_of_its_terms(kinds, begun, masked):
    total, expected = Total(torch.full((4, 3), torch.nan).double()), torch.zeros(4, 3).double()
    if begun:
        total.take(draw(50, 4, 3))
        expected = draw(50, 4, 3)
    terms = []
    for seed, kind in enumerate(kinds):
        values, factor, matrix = draw(seed, 4, 3), draw(seed + 10, 3), draw(seed + 20, 3, 3)
        terms.append((values, values.clone()))
        if kind == "add":
            total.add(values)
        elif kind == "scaled":
            total.add(values, factor)
        elif kind == "product":
            total.add_product(values, matrix)
        else:
            total.shift(factor)
        added = {"add": values, "scaled": values * factor, "product": values @ matrix, "shift": factor}
        expected = expected + added[kind]
    something = begun or bool(set(kinds) - {"shift"})
    if masked and something:
        total.mask(draw(60, 4, 3))
        expected = expected * (draw(60, 4, 3) > 0)
    found = total.result()
    assert (found is not None) == something
    if something:
        torch.testing.assert_close(found, expected, **EXACT)
    assert all(torch.equal(one, other) for one, other in terms)
