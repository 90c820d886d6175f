"""Views of images: each is a flip and a shift of its image, drawn as often as published; cutout blanks a square."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import made

from cnas.data import Augment
from cnas.random import generator

SHAPES = st.tuples(st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9))


def shifted(image, down, right):
    """``image`` [C, H, W] moved, with black where nothing came from; pixel by pixel."""
    height, width = image.shape[1:]
    moved = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                moved[:, row, column] = image[:, row - down, column - right]
    return moved


@settings(derandomize=True, deadline=None, max_examples=25)
@given(shape=SHAPES, pad=st.integers(0, 4), flip=st.booleans(), seed=st.integers(0, 99))
def test_a_view_is_its_image_flipped_and_shifted_as_drawn(shape, pad, flip, seed):
    images = made(4, shape, seed=seed).images
    draws = Augment.draws(4, generator(seed, "views"))
    views = Augment(flip=flip, pad=pad).moved(images, draws)
    assert views.dtype == torch.uint8
    for image, view, (mirror, y, x, _, _) in zip(images, views, draws.tolist(), strict=True):
        expected = image.flip(-1) if flip and mirror < 0.5 else image
        down, right = (pad - int(draw * (2 * pad + 1)) for draw in (y, x))
        assert torch.equal(view, shifted(expected, down, right))


def test_flips_and_shifts_are_uniform():
    images = torch.zeros(20_000, 1, 9, 9, dtype=torch.uint8)
    images[:, 0, 4, 4] = 1
    views = Augment(flip=False, pad=2).moved(images, Augment.draws(20_000, generator(1, "views")))
    counts = views.sum(dim=(0, 1), dtype=torch.int64)
    assert counts.sum() == 20_000
    assert counts[2:7, 2:7].min() > 700  # of 800 expected at each of 25 places
    images[:, 0, 4] = torch.arange(9, dtype=torch.uint8)
    views = Augment(pad=0).moved(images, Augment.draws(20_000, generator(1, "views")))
    assert abs(int((views[:, 0, 4, 0] == 8).sum()) - 10_000) < 300


def test_the_largest_draw_stays_in_range():
    images = made(1, (1, 4, 4)).images
    largest = torch.full((1, 5), 1 - 2**-24)
    for pad in range(1, 40):
        view = Augment(pad=pad).moved(images, largest)
        assert torch.equal(view[0], shifted(images[0], -pad, -pad))
    assert (Augment(cutout=2).blanked(torch.ones(1, 1, 4, 4), largest) == 0).sum() == 4


@settings(derandomize=True, deadline=None, max_examples=25)
@given(shape=SHAPES, cutout=st.integers(0, 9), seed=st.integers(0, 99))
def test_cutout_blanks_one_square_around_its_centre(shape, cutout, seed):
    draws = Augment.draws(3, generator(seed, "views"))
    blanked = Augment(cutout=cutout).blanked(torch.ones(3, *shape), draws)
    for image, (_, _, _, y, x) in zip(blanked, draws.tolist(), strict=True):
        expected = torch.ones(shape)
        if cutout:
            top, left = (int(draw * size) - cutout // 2 for draw, size in ((y, shape[1]), (x, shape[2])))
            expected[:, max(top, 0) : max(top + cutout, 0), max(left, 0) : max(left + cutout, 0)] = 0
        assert torch.equal(image, expected)


@pytest.mark.parametrize("augment", [Augment(flip=False, pad=0)])
def test_nothing_asked_changes_nothing(augment):
    images = made(5).images
    draws = Augment.draws(5, generator(1, "views"))
    assert torch.equal(augment.moved(images, draws), images)
    assert torch.equal(augment.blanked(images.float(), draws), images.float())
