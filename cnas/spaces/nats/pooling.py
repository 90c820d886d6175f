"""Average pooling 3×3, stride 1, over what lies inside the image, by sums of shifted copies.

Sums along rows, then along columns, cost less than a window at every pixel where channels are last in memory.

This file imports torch alone, because it belongs beside weights that must load where `cnas` is missing.

Legend: B images, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

WINDOW = 3


def pool(images_BCHW: Tensor, out: Tensor | None = None, room: Tensor | None = None) -> Tensor:
    """The mean of each pixel and its neighbours; those beyond the border do not count.

    Equal to ``avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)``.

    Args:
        images_BCHW: any floating dtype.
        out: where to write, another tensor of the same shape; new where None.
        room: a third one, whose values are lost.

    Example:
        >>> pool(torch.tensor([[[[1.0, 3.0]]]])).tolist()
        [[[[2.0, 2.0]]]]
    """
    out = torch.empty_like(images_BCHW) if out is None else out
    room = torch.empty_like(images_BCHW) if room is None else room
    _sum_three(images_BCHW, 3, room)
    _sum_three(room, 2, out)
    return _divide_by_counts(out.mul_(1 / WINDOW**2))


def pool_gradient(grad_BCHW: Tensor, out: Tensor | None = None, room: Tensor | None = None) -> Tensor:
    """The gradient of what `pool` was given, from that of what it returned; ``out`` and ``room`` as there."""
    out = torch.empty_like(grad_BCHW) if out is None else out
    room = torch.empty_like(grad_BCHW) if room is None else room
    _divide_by_counts(torch.mul(grad_BCHW, 1 / WINDOW**2, out=out))
    _sum_three(out, 3, room)
    _sum_three(room, 2, out)
    return out


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images_BCHW: Tensor) -> Tensor:  # noqa: ARG004 - nothing is kept
        return pool(images_BCHW)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # noqa: ARG004
        return pool_gradient(grads[0])


def pool_as_step(images_BCHW: Tensor) -> Tensor:
    """`pool` as a step of the graph."""
    found: Tensor = _Pool.apply(images_BCHW)
    return found


def _sum_three(images_BCHW: Tensor, axis: int, out: Tensor) -> None:
    """The sum of each pixel and its two neighbours along an axis."""
    size = images_BCHW.shape[axis] - 1
    before, after = images_BCHW.narrow(axis, 0, size), images_BCHW.narrow(axis, 1, size)
    torch.add(before, after, out=out.narrow(axis, 0, size))
    out.narrow(axis, size, 1).copy_(images_BCHW.narrow(axis, size, 1))
    out.narrow(axis, 1, size).add_(before)


def _divide_by_counts(images_BCHW: Tensor) -> Tensor:
    """From sums over 9 to means, in place: windows at the border have fewer pixels."""
    for axis in (2, 3):
        size = images_BCHW.shape[axis]
        for line in {0, size - 1}:
            count = min(line + 1, size - 1) - max(line - 1, 0) + 1
            images_BCHW.narrow(axis, line, 1).mul_(WINDOW / count)
    return images_BCHW
