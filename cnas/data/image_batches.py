"""Images as ordered batches: shuffled in each epoch anew, augmented, normalised.

Everything drawn belongs to (seed, stream, epoch, image), so a resumed run and another number of processes see the same
batches, and no pass over the data disturbs another one.

Images are augmented as in NATS-Bench (Dong et al., 2021) and the DARTS code: first the flip, then the crop, with black
pixels around the image, then normalisation; cutout (DeVries and Taylor, 2017) sets a square of the normalised image
to 0.

Orders and draws are made in host memory. For an accelerator (`ImageBatches.to`) pixels are copied as bytes, and
flipped, cropped and normalised there, with the same results.

Legend: N images of the set, b rows of a batch, C channels, H rows and W columns of pixels, D = 5 draws of an image.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.data.image_set import ChannelStatistics, ImageSet
from cnas.errors import UserError
from cnas.random import HOST, generator, to_device
from cnas.types import Batch

DRAWS = 5
"""What an image's view is made from: flip, rows and columns of the crop, row and column of the cutout's centre."""


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What is done to training images.

    Args:
        flip: whether one image in two is mirrored, left to right.
        pad: an image is moved by up to so many pixels in each direction; 4 for 32×32 and 2 for 16×16 as published.
        cutout: side of the square that is blanked, in pixels; 0 blanks nothing.
        while_scoring: whether the curriculum's K subnets see augmented images too, as in the authors' code.

    Example:
        >>> image = torch.arange(1, 5, dtype=torch.uint8).view(1, 1, 2, 2)
        >>> never_flipped_moved_down_right = torch.tensor([[0.9, 0.0, 0.0, 0.0, 0.0]])
        >>> Augment(pad=1).moved(image, never_flipped_moved_down_right).tolist()
        [[[[0, 0], [0, 1]]]]
    """

    flip: bool = True
    pad: int = 4
    cutout: int = 0
    while_scoring: bool = False

    @staticmethod
    def draws(count: int, draws: torch.Generator) -> Tensor:
        """The draws of ``count`` images, uniform in [0, 1), float32 [N, D], taken from the generator ``draws``."""
        return torch.rand(count, DRAWS, generator=draws)

    def moved(self, images: Tensor, draws: Tensor) -> Tensor:
        """Flipped and cropped images.

        Args:
            images: uint8 [b, C, H, W].
            draws: of these images, float32 [b, D].

        Returns:
            uint8 [b, C, H, W]; black where a crop reaches beyond its image.
        """
        if self.flip:
            images = torch.where((draws[:, 0] < 0.5)[:, None, None, None], images.flip(-1), images)
        if not self.pad:
            return images
        height, width = images.shape[-2:]
        padded = torch.nn.functional.pad(images, (self.pad,) * 4)
        rows_bH = _pick(draws[:, 1], 2 * self.pad + 1)[:, None] + torch.arange(height, device=images.device)
        columns_bW = _pick(draws[:, 2], 2 * self.pad + 1)[:, None] + torch.arange(width, device=images.device)
        each, channels = (torch.arange(size, device=images.device) for size in images.shape[:2])
        return padded[
            each[:, None, None, None], channels[:, None, None], rows_bH[:, None, :, None], columns_bW[:, None, None, :]
        ]

    def blanked(self, inputs: Tensor, draws: Tensor) -> Tensor:
        """Normalised images without a square around a drawn centre, clipped at the border.

        Args:
            inputs: float32 [b, C, H, W].
            draws: of these images, float32 [b, D].
        """
        if not self.cutout:
            return inputs
        height, width = inputs.shape[-2:]
        inside_bH = self._within(_pick(draws[:, 3], height), height)
        inside_bW = self._within(_pick(draws[:, 4], width), width)
        return inputs.masked_fill((inside_bH[:, :, None] & inside_bW[:, None, :])[:, None], 0.0)

    def _within(self, centres_b: Tensor, size: int) -> Tensor:
        """Which of ``size`` places lie in the square, bool [b, size]."""
        first_b1 = centres_b[:, None] - self.cutout // 2
        places = torch.arange(size, device=centres_b.device)
        return (places >= first_b1) & (places < first_b1 + self.cutout)


def _pick(draws_b: Tensor, count: int) -> Tensor:
    """Uniform integers below ``count`` from uniform draws; the largest draw times ``count`` may round up to it."""
    return (draws_b * count).long().clamp(max=count - 1)


class ImageBatches(OrderedBatches):
    """Every image once in a pass; the unit of an image is its place in the set.

    The last batch is smaller where B does not divide N; a last batch of a single image, which could not be normalised,
    joins the one before. As built these are the batches of epoch 0.

    Args:
        images: the set.
        batch_size: B, the images of the *global* batch.
        seed: of the draws.
        stream: the name of the purpose, e.g. ``"search/train"``; other names, other draws.
        statistics: what the channels are normalised with.
        augment: what is done to the images; None leaves them as they are.
        shuffle: whether every epoch has an order of its own, or all have the same drawn one (``"once"``); otherwise it
            is that of the set.

    Raises:
        UserError: there are fewer than two images, or ``batch_size`` is below 1.

    Example:
        >>> images = ImageSet(torch.zeros(7, 3, 8, 8, dtype=torch.uint8), torch.arange(7))
        >>> plain = ChannelStatistics((0.0,) * 3, (1.0,) * 3)
        >>> batches = ImageBatches(images, 3, seed=1, stream="example", statistics=plain, shuffle=True)
        >>> [batches.rows(index) for index in range(len(batches))]
        [3, 4]
        >>> later = batches.at_epoch(2)
        >>> [later.batch(index, slice(0, 4)).unit_ids.tolist() for index in range(2)]
        [[4, 6, 0], [2, 5, 3, 1]]
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        *,
        seed: int,
        stream: str,
        statistics: ChannelStatistics,
        augment: Augment | None = None,
        shuffle: bool | Literal["once"] = False,
    ) -> None:
        if batch_size < 1 or len(images) < 2:
            raise UserError(f"batch_size must be at least 1 and images at least 2, got {batch_size} and {len(images)}")
        self.images, self.batch_size, self.num_units = images, batch_size, len(images)
        self.seed, self.stream, self.statistics, self.augment, self.shuffle = seed, stream, statistics, augment, shuffle
        self.device = HOST
        self._enter(0)

    def to(self, device: torch.device) -> ImageBatches:
        """The same batches, augmented and normalised on ``device``."""
        other = copy.copy(self)
        other.device = device
        return other

    def _enter(self, epoch: int) -> None:
        self._epoch, count = epoch, len(self.images)
        order = generator(self.seed, f"{self.stream}/order", *([] if self.shuffle == "once" else [epoch]))
        self._order = torch.randperm(count, generator=order) if self.shuffle else torch.arange(count)
        views = generator(self.seed, f"{self.stream}/augment", epoch)
        self._draws = self.augment.draws(count, views) if self.augment else None

    def __len__(self) -> int:
        """How many batches a pass has."""
        full, rest = divmod(len(self.images), self.batch_size)
        return max(full + (rest > 1), 1)

    def rows(self, index: int) -> int:
        """How many images global batch ``index`` has: B, or what is left in the last one.

        Raises:
            IndexError: there is no such batch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        last = index == len(self) - 1
        return len(self.images) - index * self.batch_size if last else self.batch_size

    def batch(self, index: int, rows: slice) -> Batch:
        """Images ``rows`` of global batch ``index``: inputs float32 [b, C, H, W], labels and unit ids int64 [b].

        Raises:
            IndexError: there is no such batch.
        """
        return self._view(index, rows, self.augment)

    def scoring_batch(self, index: int, rows: slice, batch: Batch) -> Batch:
        """The images of ``batch`` as candidates score them, augmented where the augmentation says ``while_scoring``."""
        return batch if self.augment is None or self._scores_augmented() else self._view(index, rows, None)

    def scoring_view(self) -> ImageBatches:
        """All images as candidates score them, in one drawn order that is the same in all epochs.

        Supernets take the statistics of the batch at hand, and a set is often sorted by class: in its own order a batch
        would hold one class, and losses would say more about the neighbours of an image than about the image.

        The images are augmented only where the augmentation says ``while_scoring``: then each has one view of its own
        in this epoch, another one than training has, and the same for all K.
        """
        view = copy.copy(self)
        view.stream, view.shuffle = f"{self.stream}/judged", "once"
        view.augment = self.augment if self._scores_augmented() else None
        return view.at_epoch(self._epoch)

    def _scores_augmented(self) -> bool:
        return self.augment is not None and self.augment.while_scoring

    def _view(self, index: int, rows: slice, augment: Augment | None) -> Batch:
        start = index * self.batch_size
        chosen = self._order[start : start + self.rows(index)][rows]
        found = (self.images.images[chosen], self.images.labels[chosen], chosen)
        images, labels, unit_ids = (to_device(each, self.device) for each in found)
        if augment is None or self._draws is None:
            return Batch(self.statistics.normalised(images), labels, unit_ids)
        draws_bD = to_device(self._draws[chosen], self.device)
        inputs = self.statistics.normalised(augment.moved(images, draws_bD))
        return Batch(augment.blanked(inputs, draws_bD), labels, unit_ids)
