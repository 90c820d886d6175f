"""The 3×3 convolutions that leave one node, each normalised, with their derivative written out.

What a convolution puts out has a mean that follows from sums of its input r = ReLU(x), so that it is taken away by the
bias: the results z have mean 0 when they come. The factors that follow are taken into one product with the standard
deviation.

Legend: B images, C channels, M edges, P pixels of this process.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from cnas.spaces.nats.norm import EPSILON, Pixels, images, pixels
from cnas.spaces.nats.total import Total


class Windowed:
    """Convolutions in the dtype that ``over`` wants for products.

    Args:
        bent_BCHW: r, channels last in memory.
        sums_1C: Σ r over the pixels of this process.
        kernels: M of [C, C, 3, 3].
        weights_M: with which the results are added; None where all are 1.
        over: the pixels to normalise over.
        room_PC: whose values are lost.
    """

    def __init__(
        self,
        bent_BCHW: Tensor,
        sums_1C: Tensor,
        kernels: Sequence[Tensor],
        weights_M: Tensor | None,
        over: Pixels,
        room_PC: Tensor,
    ) -> None:
        self.over, self.bent = over, bent_BCHW.to(over.products)
        self.kernels = [kernel.to(over.products) for kernel in kernels]
        exact = self.bent.to(bent_BCHW.dtype)
        (sums_W,) = over.exchange([_window_sums(exact, sums_1C[0])])
        self.maps = [self._convolve(kernel, sums_W / over.total) for kernel in self.kernels]
        squares_MC = exact.new_empty(len(kernels), exact.shape[1])
        for each_PC, square_C in zip(self.maps, squares_MC, strict=True):
            torch.mm(over.ones, torch.mul(each_PC, each_PC, out=room_PC), out=square_C[None])
        (squares_MC,) = over.exchange([squares_MC])
        self.scales_MC = (squares_MC / over.total).add_(EPSILON).rsqrt_()
        self.factors_MC = self.scales_MC if weights_M is None else self.scales_MC * weights_M[:, None]

    def _convolve(self, kernel: Tensor, means_W: Tensor) -> Tensor:
        """Z [P, C] of one kernel, from the means of what each place of the window sees."""
        mean_C = torch.mv(kernel.to(means_W.dtype).flatten(1), means_W)
        same = kernel.dtype is mean_C.dtype
        # In another dtype the bias would be rounded, and what is left of the mean with it.
        found = F.conv2d(self.bent, kernel, mean_C.neg_() if same else None, padding=1)
        values_PC = pixels(found.to(mean_C.dtype).contiguous(memory_format=torch.channels_last))
        return values_PC if same else values_PC.sub_(mean_C)

    def add_to(self, total: Total, edge: int) -> None:
        """Add the weighted result of one edge, counted by position, to what enters its target."""
        total.add(self.maps[edge], self.factors_MC[edge])

    def along(self, grads: Sequence[Tensor], room_PC: Tensor) -> Tensor:
        """Σ g·y [M, C] over the pixels of this process; y are the normalised results.

        Args:
            grads: per edge g, [P, C].
            room_PC: whose values are lost.
        """
        found_MC = torch.empty_like(self.scales_MC)
        for grad_PC, each_PC, found_C in zip(grads, self.maps, found_MC, strict=True):
            torch.mm(self.over.ones, torch.mul(grad_PC, each_PC, out=room_PC), out=found_C[None])
        return found_MC.mul_(self.scales_MC)

    def differentiate(
        self,
        grads: Sequence[Tensor],
        means_MC: Tensor,
        slopes_MC: Tensor,
        wanted: tuple[bool, bool],
        room_PC: Tensor,
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Gradients of r, [P, C], to be added up, and those of the kernels.

        Args:
            grads: per edge g, [P, C].
            means_MC: Σ g/N over all processes, for N pixels.
            slopes_MC: Σ g·y/N over all processes.
            wanted: which of the two.
            room_PC: whose values are lost.
        """
        into_bent: list[Tensor] = []
        into_kernels: list[Tensor | None] = []
        shifts_MC, slopes_MC = self.factors_MC * -means_MC, self.factors_MC * -slopes_MC * self.scales_MC
        for edge, grad_PC in enumerate(grads if any(wanted) else ()):
            torch.addcmul(shifts_MC[edge], grad_PC, self.factors_MC[edge], out=room_PC)
            bent, kernel = self._back(room_PC.addcmul_(self.maps[edge], slopes_MC[edge]), self.kernels[edge], wanted)
            into_bent += [] if bent is None else [bent]
            into_kernels.append(kernel)
        return into_bent, into_kernels or [None] * len(grads)

    def _back(self, grad_PC: Tensor, kernel: Tensor, wanted: tuple[bool, bool]) -> tuple[Tensor | None, Tensor | None]:
        grad, sides, exact = images(grad_PC, self.bent.shape).to(kernel.dtype), [1, 1], grad_PC.dtype
        bent, into, _ = torch.ops.aten.convolution_backward(
            grad, self.bent, kernel, None, sides, sides, sides, False, [0, 0], 1, [*wanted, False]
        )
        found = pixels(bent.contiguous(memory_format=torch.channels_last)).to(exact) if wanted[0] else None
        return found, into.to(exact) if wanted[1] else None


def _window_sums(bent_BCHW: Tensor, whole_C: Tensor) -> Tensor:
    """[C·9]: for every channel and place in the window, the sum of what that place sees; the border is nought.

    ``whole`` is the sum over all pixels: a place above or beside the middle misses the last row or column, one below
    or on the other side the first.
    """
    rows = bent_BCHW[:, :, [-1, 0]].sum((0, 3))  # [C, 2]
    columns = bent_BCHW[..., [-1, 0]].sum((0, 2))
    found = whole_C.view(-1, 1, 1).repeat(1, 3, 3)
    found[:, ::2] -= rows[:, :, None]
    found[:, :, ::2] -= columns[:, None]
    found[:, ::2, ::2] += bent_BCHW[:, :, [-1, 0]][..., [-1, 0]].sum(0)
    return found.flatten()
