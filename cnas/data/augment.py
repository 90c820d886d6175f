"""Random views of training images: horizontal flip, crop out of a padded image, cutout.

As in NATS-Bench (Dong et al., 2021) and the DARTS code: first the flip, then the crop, with black pixels around the
image, then normalisation; cutout (DeVries and Taylor, 2017) sets a square of the normalised image to 0.

Legend: N images of a set, b images of a batch, C channels, H rows and W columns of pixels, D = 5 draws of an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
