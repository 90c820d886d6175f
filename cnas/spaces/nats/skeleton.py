"""Stem, reductions and classifier around the cells, in the supernet and in a stand-alone network alike.

    stem · N cells of C channels · reduction · N cells of 2C · reduction · N cells of 4C · norm · mean · classifier

(NATS-Bench, Dong et al. 2021, figure 1.) This file imports torch and its sibling alone, because it belongs beside
weights that must load where `cnas` is missing.

Legend: B images, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .norm import AllSum, BatchNorm

STAGES = 3


def pool(x_BCHW: Tensor) -> Tensor:
    """The mean of each pixel and its neighbours; those beyond the border do not count."""
    return F.avg_pool2d(x_BCHW, 3, stride=1, padding=1, count_include_pad=False)


class Reduction(nn.Module):
    """A residual block that halves height and width and doubles the channels.

    The shortcut is a mean over 2×2 pixels and a convolution; a row or column left over is a window of its own.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_a = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)
        self.norm_a = BatchNorm(2 * channels)
        self.conv_b = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, bias=False)
        self.norm_b = BatchNorm(2 * channels)
        self.shortcut = nn.Conv2d(channels, 2 * channels, 1, bias=False)

    def forward(self, x_BCHW: Tensor, all_reduce_sum: AllSum | None) -> Tensor:
        """Reduce [B, C, height, width] to [B, 2C, half, half], rounded up."""
        branch = self.norm_a(self.conv_a(x_BCHW.relu()), all_reduce_sum)
        branch = self.norm_b(self.conv_b(branch.relu()), all_reduce_sum)
        return branch + self.shortcut(F.avg_pool2d(x_BCHW, 2, ceil_mode=True))


class Skeleton(nn.Module):
    """Stem, reductions and classifier around cells.

    Args:
        channels: C of the first stage.
        cells: in each stage.
        classes: number of labels.
        image_channels: of an image.
        build_cell: makes a cell for so many channels.
        own_norm: whether the last normalisation has weight and bias and keeps running averages.
    """

    def __init__(
        self,
        channels: int,
        cells: int,
        classes: int,
        image_channels: int,
        build_cell: Callable[[int], nn.Module],
        own_norm: bool,
    ) -> None:
        super().__init__()
        widths = [channels * 2**stage for stage in range(STAGES)]
        self.stem = nn.Conv2d(image_channels, channels, 3, padding=1, bias=False)
        self.stem_norm = BatchNorm(channels)
        self.stages = nn.ModuleList(nn.ModuleList(build_cell(width) for _ in range(cells)) for width in widths)
        self.reductions = nn.ModuleList(Reduction(width) for width in widths[:-1])
        self.last_norm = BatchNorm(widths[-1], own_norm)
        self.classifier = nn.Linear(widths[-1], classes)

    def cells(self) -> list[list[Any]]:
        """The cells of every stage."""
        stages: Any = self.stages
        return [list(stage) for stage in stages]

    def run_stem(self, images_BCHW: Tensor, all_reduce_sum: AllSum | None) -> Tensor:
        """Stem and its normalisation, in the order in memory that torch's layers are fastest with, which they keep."""
        stem = self.stem(images_BCHW.to(self.stem.weight.dtype))
        # A GPU's convolutions of float32 like either; its normalisation is exact with channels first.
        order = torch.channels_last if stem.is_cpu else torch.contiguous_format
        normed: Tensor = self.stem_norm(stem.contiguous(memory_format=order), all_reduce_sum)
        return normed

    def reduce(self, stage: int, x_BCHW: Tensor, all_reduce_sum: AllSum | None) -> Tensor:
        """The reduction after a stage; after the last stage there is none."""
        return self.reductions[stage](x_BCHW, all_reduce_sum) if stage < len(self.reductions) else x_BCHW

    def classify(self, x_BCHW: Tensor, all_reduce_sum: AllSum | None) -> Tensor:
        """Logits [B, classes] from the last cell."""
        features: Tensor = self.last_norm(x_BCHW, all_reduce_sum).relu().mean((2, 3))
        logits: Tensor = self.classifier(features)
        return logits


def classification_losses(logits: Tensor, labels_B: Tensor) -> Tensor:
    """Cross-entropy [B] of [B, classes], float32 at least."""
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(exact, labels_B, reduction="none")
