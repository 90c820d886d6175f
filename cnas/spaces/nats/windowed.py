"""One 3×3 convolution behind ReLU, normalised, with its derivative written out.

What a convolution puts out has a mean that follows from sums of its input, so that it is taken away by the bias: the
result has mean 0 when it comes. The factors that follow are taken into one product with the standard deviation.

Legend: B images, C channels, P pixels of this process.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cnas.spaces.nats.norm import EPSILON, Pixels, images, pixels
from cnas.spaces.nats.total import Total


class Incoming(NamedTuple):
    """What comes back to the end of one edge."""

    grad: Tensor  # [P, C], of the sum
    sums: Tensor  # [1, C], Σ of it over the pixels of this process
    weight: Tensor | None  # with which the operation was added; None is 1


class Windowed:
    """A convolution in the dtype of autocast.

    Args:
        bent_BCHW: r, ReLU of the node, channels last in memory.
        means_W: the means of what each channel and place of the window sees, [C·9] of `window_sums`.
        kernel: [C, C, 3, 3].
        over: the pixels to normalise over.
        room_PC: whose values are lost.
    """

    def __init__(self, bent_BCHW: Tensor, means_W: Tensor, kernel: Tensor, over: Pixels, room_PC: Tensor) -> None:
        self.over, self.bent, self.kernel = over, bent_BCHW, kernel.to(bent_BCHW.dtype)
        mean_C, exact = kernel.to(means_W.dtype).flatten(1) @ means_W, means_W.dtype
        same = bent_BCHW.dtype is exact
        # In another dtype the bias would be rounded, and what is left of the mean with it.
        found = F.conv2d(self.bent, self.kernel, -mean_C if same else None, padding=1)
        values_PC = pixels(found.to(exact).contiguous(memory_format=torch.channels_last))
        self.values_PC = values_PC if same else values_PC.sub_(mean_C)
        (variance_1C,) = over.means([torch.mul(self.values_PC, self.values_PC, out=room_PC)])
        self.scale_C = (variance_1C[0] + EPSILON).rsqrt_()

    def add_to(self, total: Total, weight: Tensor | None) -> None:
        """Add the normalised result to what enters the target."""
        total.add(self.values_PC, self._factor(weight))

    def along(self, incoming: Incoming, room_PC: Tensor) -> Tensor:
        """Σ g·y [1, C] over the pixels of this process; y is the normalised result."""
        return (self.over.ones @ torch.mul(incoming.grad, self.values_PC, out=room_PC)).mul_(self.scale_C)

    def differentiate(
        self, incoming: Incoming, shared_2C: Tensor, wanted: tuple[bool, bool], room_PC: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of r [P, C] and of the kernel.

        Args:
            incoming: what comes back.
            shared_2C: Σ g and Σ g·y over all processes.
            wanted: which of the two.
            room_PC: whose values are lost.
        """
        factor_C, exact = self._factor(incoming.weight), room_PC.dtype
        shift_C, slope_C = shared_2C / self.over.total * -factor_C
        torch.addcmul(shift_C, incoming.grad, factor_C, out=room_PC).addcmul_(self.values_PC, slope_C * self.scale_C)
        grad = images(room_PC, self.bent.shape).to(self.bent.dtype)
        sides = [1, 1]
        into_bent, into_kernel, _ = torch.ops.aten.convolution_backward(
            grad, self.bent, self.kernel, None, sides, sides, sides, False, [0, 0], 1, [*wanted, False]
        )
        bent = pixels(into_bent.contiguous(memory_format=torch.channels_last)).to(exact) if wanted[0] else None
        return bent, into_kernel.to(exact) if wanted[1] else None

    def _factor(self, weight: Tensor | None) -> Tensor:
        return self.scale_C if weight is None else self.scale_C * weight


def window_sums(bent_BCHW: Tensor, whole_C: Tensor) -> Tensor:
    """[1, C·9]: for every channel and place in the window, the sum of what that place sees; the border is nought.

    Args:
        bent_BCHW: what is convolved.
        whole_C: its sum over all pixels.
    """
    last_row, first_row = (bent_BCHW[:, :, line].sum((0, 2)) for line in (-1, 0))
    last_column, first_column = (bent_BCHW[..., line].sum((0, 2)) for line in (-1, 0))
    corners = [[bent_BCHW[:, :, row, column].sum(0) for column in (-1, 0)] for row in (-1, 0)]
    nothing = torch.zeros_like(whole_C)
    rows = torch.stack([last_row, nothing, first_row], 1)[:, :, None]
    columns = torch.stack([last_column, nothing, first_column], 1)[:, None]
    (a, b), (c, d) = corners
    twice = torch.stack([a, nothing, b, nothing, nothing, nothing, c, nothing, d], 1).view(-1, 3, 3)
    return (whole_C[:, None, None] - rows - columns + twice).reshape(1, -1)
