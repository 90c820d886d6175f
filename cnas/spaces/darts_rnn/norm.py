"""Batch normalisation without parameters or memory, its statistics taken over all processes that share the batch.

    y = (x - mean)·scale        scale = 1/sqrt(var + 1e-5), mean and (biased) var over the rows of the batch

The statistics are those of the batch at hand in training and in evaluation alike (Ioffe & Szegedy 2015 without running
averages): what a supernet has averaged over its mixtures describes no single architecture.

Legend: R rows of this process, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EPSILON = 1e-5


class BatchNorm:
    """Batch normalisation over the last axis but one with a hand-written backward pass, so that it works in place.

    Args:
        like: [R, H], in the dtype and memory of what will be normalised.
        all_reduce_sum: the sum over processes (see `cnas.types.Batch.all_reduce_sum`); None where there is one.

    Example:
        >>> values = torch.tensor([[1.0], [3.0]])
        >>> _ = BatchNorm(values, None).apply_(values)
        >>> values.round(decimals=3).tolist()
        [[-1.0], [1.0]]
    """

    def __init__(self, like: Tensor, all_reduce_sum: Callable[[Tensor], Tensor] | None) -> None:
        self.all_reduce_sum = all_reduce_sum
        ones = like.new_ones(1, like.shape[-2])
        rows = ones.sum()
        # A product with 1/rows is a mean over the rows, in one call.
        self.shares = ones / (rows if all_reduce_sum is None else all_reduce_sum(rows))

    def apply_(self, values: Tensor) -> Tensor:
        """Normalise ``values`` [..., R, H] in place; returns the scale [..., 1, H] that `backward` wants."""
        values.sub_(self._mean(values))
        # From centred values: mean(x²) - mean(x)² would lose what mean and spread have in common.
        scale = self._mean(values.square()).add_(EPSILON).rsqrt_()
        values.mul_(scale)
        return scale

    def backward(self, grad: Tensor, normalised: Tensor, scale: Tensor) -> Tensor:
        """The gradient [R, H] before the normalisation from the one after it."""
        along = self.shares @ (grad * normalised)
        mean = self.shares @ grad
        if self.all_reduce_sum is not None:
            mean, along = self.all_reduce_sum(torch.stack([mean, along]))
        return torch.addcmul(grad - mean, normalised, along, value=-1).mul_(scale)

    def _mean(self, values: Tensor) -> Tensor:
        part = self.shares @ values
        # A copy, since what comes back from other processes need not be ours to change.
        return part if self.all_reduce_sum is None else self.all_reduce_sum(part).clone()
