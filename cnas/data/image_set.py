"""Labelled images in memory, and what their channels are normalised with.

Legend: N images of a set, b chosen ones, C channels, H rows and W columns of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
        mean, std = (
            torch.tensor(each, dtype=torch.float32, device=images.device)[:, None, None]
            for each in (self.mean, self.std)
        )
        return (images.float() / 255 - mean) / std
