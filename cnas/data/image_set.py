"""Labelled images in memory, what their channels are normalised with, and what must hold of a data set of them.

Legend: N images of a set, b chosen ones, C channels, H rows and W columns of pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cnas.errors import UserError
from cnas.random import to_device


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size with their labels; an image's place in the set is its name.

    Args:
        images: uint8 [N, C, H, W], 0 to 255.
        labels: int64 [N], the class of each image, from 0.

    Example:
        >>> images = ImageSet(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1]))
        >>> len(images), images.shape, images.take(torch.tensor([2, 0])).labels.tolist()
        (3, (1, 2, 2), [1, 0])
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def take(self, indices: Tensor) -> ImageSet:
        """The images at ``indices``, int64 [b], in that order."""
        return ImageSet(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel, on pixels that are divided by 255.

    These are the ``image_mean`` and ``image_std`` of a `transformers` image processor.

    Args:
        mean: one number for each channel.
        std: one number above 0 for each channel.

    Example:
        >>> black_and_white = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
        >>> found = ChannelStatistics.of(black_and_white)
        >>> found
        ChannelStatistics(mean=(0.5,), std=(0.5,))
        >>> found.normalised(black_and_white).tolist()
        [[[[-1.0, 1.0]]]]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of_bytes(cls, mean: tuple[float, ...], std: tuple[float, ...]) -> ChannelStatistics:
        """Those published as ``mean`` and ``std`` of values up to 255."""
        return cls(tuple(x / 255 for x in mean), tuple(x / 255 for x in std))

    @classmethod
    def of(cls, images: Tensor) -> ChannelStatistics:
        """Those of ``images``, uint8 [N, C, H, W]; a channel that is the same everywhere gets the deviation 1."""
        means, deviations = [], []
        values = torch.arange(256, dtype=torch.float64, device=images.device) / 255
        for channel in images.unbind(1):
            # Counted, not summed: exact, whatever the order in which threads add.
            counts = torch.bincount(channel.flatten(), minlength=256).double()
            share = counts / counts.sum()
            mean = float(share @ values)
            means.append(mean)
            deviations.append(float(share @ (values - mean) ** 2) ** 0.5 or 1.0)
        return cls(tuple(means), tuple(deviations))

    def normalised(self, images: Tensor) -> Tensor:
        """``images``, uint8 [b, C, H, W], less the mean and over the deviation: float32 [b, C, H, W]."""
        # A GPU multiplies by the inverse of a number, which may differ in the last bit: 255 is a tensor too.
        most, mean, std = (
            to_device(torch.tensor(each, dtype=torch.float32)[:, None, None], images.device)
            for each in ((255.0,), self.mean, self.std)
        )
        return (images.float() / most - mean) / std


@dataclass(frozen=True, eq=False)
class ImageSource:
    """A data set as it is published, before it is divided for a search.

    Args:
        name: what results call it.
        splits: ``train``, and ``validation``, ``test`` or both.
        classes: their names.
        statistics: the published ones; None where none are published.
        flip: whether a mirrored image still belongs to its class.
        passed_over: what its folder holds that was not read, by reason (see `cnas.data.image_folder.PassedOver`).
    """

    name: str
    splits: Mapping[str, ImageSet]
    classes: tuple[str, ...]
    statistics: ChannelStatistics | None = None
    flip: bool = True
    passed_over: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def check(source: ImageSource) -> ImageSource:
    """The source, if all its images have one shape and all its labels a class.

    Raises:
        UserError: a split is empty, has another shape than the training images or a label of no class, or there is
            one class only.
    """
    train = source.splits["train"]
    for split, images in source.splits.items():
        where = f"data {source.name}: {split}"
        if not len(images):
            raise UserError(f"{where} has no images")
        if images.shape != train.shape:
            found, expected = shape_text(images.shape), shape_text(train.shape)
            raise UserError(f"{where} has images of {found}, those of train have {expected}: all must have one size")
        wrong = ((images.labels < 0) | (images.labels >= len(source.classes))).nonzero()
        if len(wrong):
            row, allowed = int(wrong[0]), f"labels must be 0 to {len(source.classes) - 1}"
            raise UserError(f"{where}: row {row} (from 0) has the label {int(images.labels[row])}; {allowed}")
        if images is train:
            check_classes(train, where)
    return source


def check_classes(images: ImageSet, where: str) -> None:
    """Raise a `UserError` where all images are of one class."""
    if len(torch.unique(images.labels)) < 2:
        raise UserError(
            f"{where}: all {len(images)} images have the label {int(images.labels[0])}; at least 2 classes are needed"
        )


def shape_text(shape: Sequence[int]) -> str:
    """(C, H, W) in words."""
    channels, height, width = shape
    return f"{height}x{width} pixels with {channels} channel{'s' if channels > 1 else ''}"


def numbered(train: ImageSet, where: str) -> tuple[str, ...]:
    """The names of classes that have none: 0 to the largest label of the training images.

    Raises:
        UserError: a number in between does not occur, so the labels do not count classes.
    """
    found = torch.unique(train.labels[train.labels >= 0]).tolist()
    gap = next((number for number, label in enumerate(found) if number != label), None)
    if gap is not None:
        raise UserError(f"{where}: no row has the label {gap}; labels must count from 0 without gaps, got {found[gap]}")
    return tuple(map(str, found))
