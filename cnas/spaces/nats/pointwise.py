"""One 1×1 convolution behind ReLU, normalised, without ever holding what it puts out.

The statistics of W·r follow from those of r: with m its mean and S its covariance, W·r has the mean W·m and the
variances diag(W·S·Wᵀ). So a normalised convolution with weight w is one product with a matrix that is known beforehand,

    w·y = A·(r - m),    A = diag(f)·W,    f = w/sqrt(diag(W·S·Wᵀ) + eps),

which can be added to a sum at once. With g the gradient of that sum, N pixels in all processes, s = Σ g and
a_c = Σ_p g_pc·y_pc, the gradient behind the convolution is f·(g - s/N - y·a/N); put in, all that is needed of the
pixels is gᵀ·r.

Legend: C channels, P pixels of this process.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cnas.spaces.nats.norm import EPSILON, Pixels
from cnas.spaces.nats.total import Total
from cnas.spaces.nats.windowed import Incoming


@dataclass(frozen=True)
class Moments:
    """r and what is known of its pixels.

    Args:
        bent: r, [P, C].
        sums: Σ r of this process, [1, C].
        gram: rᵀ·r of this process, [C, C].
        over: the pixels of all processes.
    """

    bent: Tensor
    sums: Tensor
    gram: Tensor
    over: Pixels

    def mean_and_covariance(self) -> tuple[Tensor, Tensor]:
        """M [C] and S [C, C], over all processes."""
        sums_1C, gram_CC = (part / self.over.total for part in self.over.exchange([self.sums, self.gram]))
        return sums_1C[0], gram_CC - sums_1C.t() @ sums_1C


class Pointwise:
    """A 1×1 convolution, in the dtype of the node whatever autocast says.

    Args:
        moments: of r.
        mean_C: m.
        covariance_CC: S.
        kernel: [C, C, 1, 1].
    """

    def __init__(self, moments: Moments, mean_C: Tensor, covariance_CC: Tensor, kernel: Tensor) -> None:
        self.moments, self.mean_C, self.matrix_CC = moments, mean_C, kernel.flatten(1).to(mean_C.dtype)
        variance_C = ((self.matrix_CC @ covariance_CC) * self.matrix_CC).sum(1)
        # Rounding can make nothing a little less than nothing.
        self.scale_C = (variance_C.clamp_min_(0) + EPSILON).rsqrt_()
        self.product_CC = torch.empty_like(covariance_CC)

    def add_to(self, total: Total, weight: Tensor | None) -> None:
        """Add the normalised result to what enters the target."""
        matrix_CC = self._factor(weight)[:, None] * self.matrix_CC
        total.shift(-(matrix_CC @ self.mean_C))
        total.add_product(self.moments.bent, matrix_CC.t())

    def along(self, incoming: Incoming) -> Tensor:
        """Σ g·y [1, C] over the pixels of this process; y is the normalised result."""
        self.product_CC = incoming.grad.t() @ self.moments.bent
        centred_C = (self.matrix_CC * self.product_CC).sum(1) - (self.matrix_CC @ self.mean_C) * incoming.sums[0]
        return (centred_C * self.scale_C)[None]

    def differentiate(self, incoming: Incoming, shared_2C: Tensor) -> Tensor:
        """The gradient [C, C, 1, 1] of the kernel; `along` has been asked before.

        Args:
            incoming: what comes back.
            shared_2C: Σ g and Σ g·y over all processes.
        """
        moments = self.moments
        mean_C, slope_C = shared_2C / moments.over.total
        # yᵀ·r of this process, but for the scale
        against_CC = self.matrix_CC @ (moments.gram - torch.outer(self.mean_C, moments.sums[0]))
        into_CC = self.product_CC - torch.outer(mean_C, moments.sums[0])
        into_CC -= (slope_C * self.scale_C)[:, None] * against_CC
        return (self._factor(incoming.weight)[:, None] * into_CC)[..., None, None]

    def bend(self, incoming: Incoming, shared_2C: Tensor, into: Total) -> Tensor:
        """Add the gradient of r to ``into``, but for a product ``r @ D`` whose matrix D is returned.

        Args:
            incoming: what comes back.
            shared_2C: Σ g and Σ g·y over all processes.
            into: the sum of what comes back to r.
        """
        factor_C = self._factor(incoming.weight)
        mean_C, slope_C = shared_2C / self.moments.over.total * -factor_C
        bend_CC = self.matrix_CC.t() @ ((slope_C * self.scale_C)[:, None] * self.matrix_CC)
        into.shift(mean_C @ self.matrix_CC - self.mean_C @ bend_CC)
        into.add_product(incoming.grad, factor_C[:, None] * self.matrix_CC)
        return bend_CC

    def _factor(self, weight: Tensor | None) -> Tensor:
        return self.scale_C if weight is None else self.scale_C * weight
