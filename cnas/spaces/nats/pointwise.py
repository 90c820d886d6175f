"""The 1×1 convolutions that leave one node, each normalised, without ever holding what they put out.

The statistics of W·r follow from those of r = ReLU(x): with m its mean and S its covariance, W·r has the mean W·m and
the variances diag(W·S·Wᵀ). So a normalised convolution with weight w is one product with a matrix known beforehand,

    w·y = A·(r - m),    A = diag(f)·W,    f = w/sqrt(diag(W·S·Wᵀ) + eps),

which can be added to a sum at once. With g the gradient of that sum, N pixels in all processes, s = Σ g and
a_c = Σ_p g_pc·y_pc, the gradient behind the convolution is f·(g - s/N - y·a/N); put in, all that is needed of the
pixels is gᵀ·r.

Legend: C channels, M edges, P pixels of this process.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnas.spaces.nats.norm import EPSILON, Pixels
from cnas.spaces.nats.total import Total


class Pointwise:
    """Convolutions in the dtype of the node.

    Args:
        bent_PC: r.
        sums_1C: Σ r over the pixels of this process.
        kernels: M of [C, C, 1, 1].
        weights_M: w; None where all are 1.
        over: the pixels to normalise over.
    """

    def __init__(
        self, bent_PC: Tensor, sums_1C: Tensor, kernels: Sequence[Tensor], weights_M: Tensor | None, over: Pixels
    ) -> None:
        self.bent, self.over, self.sums_1C = bent_PC, over, sums_1C
        self.gram_CC = bent_PC.t() @ bent_PC
        self.matrices_MCC = torch.stack([kernel.flatten(1) for kernel in kernels]).to(bent_PC.dtype)
        total_1C, gram_CC = over.exchange([sums_1C, self.gram_CC])
        self.mean_C = total_1C[0] / over.total
        covariance_CC = torch.addr(gram_CC / over.total, self.mean_C, self.mean_C, alpha=-1)
        variances_MC = ((self.matrices_MCC @ covariance_CC) * self.matrices_MCC).sum(2)
        # Rounding can make nothing a little less than nothing.
        self.scales_MC = variances_MC.clamp_min_(0).add_(EPSILON).rsqrt_()
        self.factors_MC = self.scales_MC if weights_M is None else self.scales_MC * weights_M[:, None]
        self.scaled_MCC = self.factors_MC[..., None] * self.matrices_MCC
        self.shifts_MC = self.scaled_MCC @ -self.mean_C

    def add_to(self, total: Total, edge: int) -> None:
        """Add the weighted result of one edge, counted by position, to what enters its target."""
        total.shift(self.shifts_MC[edge])
        total.add_product(self.bent, self.scaled_MCC[edge].t())

    def along(self, grads: Sequence[Tensor], sums_MC: Tensor) -> tuple[Tensor, Tensor]:
        """(gᵀ·r [M, C, C], Σ g·y [M, C]) over the pixels of this process.

        Args:
            grads: per edge g, [P, C].
            sums_MC: Σ g over the pixels of this process.
        """
        products_MCC = torch.empty_like(self.matrices_MCC)
        for grad_PC, product_CC in zip(grads, products_MCC, strict=True):
            torch.mm(grad_PC.t(), self.bent, out=product_CC)
        found_MC = (self.matrices_MCC * products_MCC).sum(2)
        return products_MCC, found_MC.addcmul_(self.matrices_MCC @ self.mean_C, sums_MC, value=-1).mul_(self.scales_MC)

    def differentiate(
        self,
        grads: Sequence[Tensor],
        products_MCC: Tensor,
        means_MC: Tensor,
        slopes_MC: Tensor,
        into: Total | None,
    ) -> list[Tensor]:
        """The gradients [C, C, 1, 1] of the kernels; that of r is added to ``into``.

        Args:
            grads: per edge g, [P, C].
            products_MCC: gᵀ·r of this process.
            means_MC: Σ g/N over all processes.
            slopes_MC: Σ g·y/N over all processes.
            into: None where nobody asks.
        """
        bent_MC = slopes_MC * self.scales_MC
        # Of this process: rᵀ·(r - m), with which yᵀ·r is a product.
        centred_CC = torch.addr(self.gram_CC, self.mean_C, self.sums_1C[0], alpha=-1)
        back_MCC = (
            products_MCC - means_MC[..., None] * self.sums_1C - bent_MC[..., None] * (self.matrices_MCC @ centred_CC)
        )
        if into is not None:
            # Σ Aᵀ·diag(slope/std)·W over the edges: two matrices with M·C rows.
            bend_CC = self.scaled_MCC.flatten(0, 1).t() @ (bent_MC[..., None] * self.matrices_MCC).flatten(0, 1)
            into.shift(self.mean_C @ bend_CC - means_MC.flatten() @ self.scaled_MCC.flatten(0, 1))
            for grad_PC, scaled_CC in zip(grads, self.scaled_MCC, strict=True):
                into.add_product(grad_PC, scaled_CC)
            into.add_product(self.bent, -bend_CC)
        return [kernel[..., None, None] for kernel in self.factors_MC[..., None] * back_MCC]
