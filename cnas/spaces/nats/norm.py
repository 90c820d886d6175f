"""Batch normalisation over the pixels of all processes that share a batch, with its derivative written out.

    y = (x - mean)/sqrt(var + eps)·weight + bias         mean and (biased) var per channel (Ioffe & Szegedy 2015)

This file imports torch alone, because it belongs beside weights that must load where `cnas` is missing.

Legend: B images, C channels, P = B·height·width pixels of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

AllSum = Callable[[Tensor], Tensor]
EPSILON = 1e-5


def pixels(images_BCHW: Tensor) -> Tensor:
    """[P, C]: the same memory seen pixel by pixel where channels are last in it."""
    return images_BCHW.permute(0, 2, 3, 1).reshape(-1, images_BCHW.shape[1])


def images(flat_PC: Tensor, shape: Sequence[int]) -> Tensor:
    """The inverse of `pixels`, for B, height and width of ``shape`` (B, C, height, width)."""
    rows, _, height, width = shape
    return flat_PC.view(rows, height, width, flat_PC.shape[1]).permute(0, 3, 1, 2)


def exactly(values: Tensor) -> torch.autocast:
    """A context in which products are as precise as their factors, whatever autocast says."""
    return torch.autocast(values.device.type, enabled=False)


class Pixels:
    """Sums and means over the pixels of the global batch.

    Args:
        like: [B, C, height, width], of the size and dtype of what will be averaged.
        all_sum: the sum over processes (`cnas.types.Batch.all_sum`); None where there is one.

    Attributes:
        ones: [1, P]; a product with it is a sum in one call, several times faster than a reduction over rows.
        total: how many pixels there are in all processes.
        products: the dtype that autocast wanted for products where this was made.
    """

    def __init__(self, like: Tensor, all_sum: AllSum | None) -> None:
        self.all_sum, kind = all_sum, like.device.type
        self.products = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype
        rows, _, height, width = like.shape
        self.ones = like.new_ones(1, rows * height * width)
        count = self.ones.new_tensor(float(self.ones.shape[1]))
        self.total = count if all_sum is None else all_sum(count)

    def means(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """[1, C] for every [P, C] of ``parts``."""
        return [found / self.total for found in self.exchange([self.ones @ part for part in parts])]

    def exchange(self, found: Sequence[Tensor]) -> list[Tensor]:
        """The sums over processes of several tensors, in one exchange."""
        if self.all_sum is None or not found:
            return list(found)
        flat = self.all_sum(torch.cat([part.flatten() for part in found]))
        parts = flat.split([part.numel() for part in found])
        return [part.view_as(like) for part, like in zip(parts, found, strict=True)]


class _Normalise(torch.autograd.Function):
    """(y, mean [C], variance [C]) of x [B, C, H, W]; only y carries a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, over: Pixels) -> tuple[Tensor, ...]:
        normed = x.contiguous(memory_format=torch.channels_last).clone()
        flat_PC = pixels(normed)
        (mean,) = over.means([flat_PC])
        flat_PC.sub_(mean)
        # From centred values: mean(x²) - mean(x)² would lose what mean and spread have in common.
        (variance,) = over.means([flat_PC.square()])
        scale = (variance + EPSILON).rsqrt()
        flat_PC.mul_(scale)
        ctx.save_for_backward(normed, scale, weight)
        ctx.over = over
        ctx.mark_non_differentiable(mean, variance)
        if weight is None:
            return normed, mean, variance
        affine = flat_PC * weight if bias is None else torch.addcmul(bias, flat_PC, weight)
        return images(affine, normed.shape), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        normed, scale, weight = ctx.saved_tensors
        flat_PC, grad_PC = pixels(normed), pixels(grads[0].contiguous(memory_format=torch.channels_last))
        local = [ctx.over.ones @ grad_PC, ctx.over.ones @ (grad_PC * flat_PC)]
        into = scale if weight is None else scale * weight
        mean, along = (total / ctx.over.total for total in ctx.over.exchange(local))
        back = torch.addcmul(grad_PC - mean, flat_PC, along, value=-1).mul_(into)
        gradients = (None, None) if weight is None else (local[1][0], local[0][0])
        return images(back, normed.shape), *gradients, None


class BatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` whose batch may be spread over processes; parameters, buffers and results are the same.

    Running averages, where it keeps them, move in training and are used in evaluation.

    Args:
        channels: C.
        own: whether it has a weight and a bias per channel, and keeps running averages.
    """

    def __init__(self, channels: int, own: bool = True) -> None:
        super().__init__(channels, eps=EPSILON, affine=own, track_running_stats=own)

    def forward(self, images_BCHW: Tensor, all_sum: AllSum | None = None) -> Tensor:
        """Normalise [B, C, height, width].

        Args:
            images_BCHW: any floating dtype; statistics are taken in float32 at least.
            all_sum: the sum over processes; None where there is one.
        """
        if not self.training and self.track_running_stats:
            return super().forward(images_BCHW)
        exact = images_BCHW.to(torch.promote_types(images_BCHW.dtype, torch.float32))
        over = Pixels(exact, all_sum)
        with exactly(exact):
            found: tuple[Tensor, Tensor, Tensor] = _Normalise.apply(exact, self.weight, self.bias, over)
        normed, mean, variance = found
        if self.training and self.track_running_stats:
            self._average(mean[0], variance[0], over.total)
        return normed

    @torch.no_grad()
    def _average(self, mean_C: Tensor, variance_C: Tensor, total: Tensor) -> None:
        """As torch does it: the running variance is that of a sample."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        share = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C, share)
        self.running_var.lerp_(variance_C * (total / (total - 1).clamp_min(1)), share)
        self.num_batches_tracked.add_(1)
