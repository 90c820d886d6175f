"""Batch normalisation over the images of all processes that share a batch.

This file imports torch alone, because it belongs beside weights that must load where `cnas` is missing.

Legend: B images, C channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

AllSum = Callable[[Tensor], Tensor]


class BatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` whose batch may be spread over processes; parameters, buffers and results are the same.

    Running averages, where it keeps them, move in training and are used in evaluation.

    Args:
        channels: C.
        own: whether it has a weight and a bias per channel, and keeps running averages.

    Attributes:
        ignores_averages: in evaluation too statistics are those of the batch; running averages stay as they are.
    """

    def __init__(self, channels: int, own: bool = True) -> None:
        super().__init__(channels, affine=own, track_running_stats=own)
        self.ignores_averages = False

    def forward(self, images_BCHW: Tensor, all_reduce_sum: AllSum | None = None) -> Tensor:
        """Normalise [B, C, height, width]; what comes out has the dtype of the parameters.

        Args:
            images_BCHW: any floating dtype; statistics are taken in float32 at least.
            all_reduce_sum: the sum over processes, differentiable; None where there is one.
        """
        kind = torch.promote_types(images_BCHW.dtype, torch.float32) if self.weight is None else self.weight.dtype
        images_BCHW = images_BCHW.to(kind)
        remembers = not self.training and self.track_running_stats
        if not self.ignores_averages and (remembers or (all_reduce_sum is None and _torch_is_exact(images_BCHW))):
            return super().forward(images_BCHW)
        exact = images_BCHW.to(torch.promote_types(kind, torch.float32))
        return self._from_sums(exact, all_reduce_sum or (lambda values: values)).to(kind)

    def _from_sums(self, images_BCHW: Tensor, all_reduce_sum: AllSum) -> Tensor:
        """Normalise from sums over all processes; squares are of centred values, which keeps a small spread exact."""
        count = images_BCHW.new_full((1,), images_BCHW.numel() / images_BCHW.shape[1])
        total, sums_C = all_reduce_sum(torch.cat([count, images_BCHW.sum((0, 2, 3))])).tensor_split([1])
        total = total.detach()
        mean_C = sums_C / total
        centred = images_BCHW - mean_C[:, None, None]
        variance_C = all_reduce_sum(centred.square().sum((0, 2, 3))) / total
        normed = centred * (variance_C + self.eps).rsqrt()[:, None, None]
        if self.training and self.track_running_stats:
            self._average(mean_C, variance_C, total)
        return normed if self.weight is None else normed * self.weight[:, None, None] + self.bias[:, None, None]

    @torch.no_grad()
    def _average(self, mean_C: Tensor, variance_C: Tensor, total: Tensor) -> None:
        """Update the running averages as torch does; the running variance is the unbiased one."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        share = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C.to(self.running_mean), share)
        sample_C = variance_C * (total / (total - 1).clamp_min(1))
        self.running_var.lerp_(sample_C.to(self.running_var), share)
        self.num_batches_tracked.add_(1)


def _torch_is_exact(images_BCHW: Tensor) -> bool:
    """Whether torch's own norm is exact enough: with channels last in a CPU's memory it adds up pixel after pixel.

    At 65,536 pixels that is a hundred times as inexact as with channels first. A single pixel it refuses.
    """
    return images_BCHW.is_contiguous() and images_BCHW.numel() > images_BCHW.shape[1]
