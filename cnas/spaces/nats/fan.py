"""Everything that leaves one node: what is computed once for all its edges, and the way back.

    y_m = Σ_o w_mo·op_o(x)        for every edge m that leaves x

Legend: B images, C channels, P pixels of this process, M edges, O operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cnas.spaces.nats.norm import Pixels, images, pixels
from cnas.spaces.nats.plan import Fan
from cnas.spaces.nats.pointwise import Moments, Pointwise
from cnas.spaces.nats.pooling import pool, pool_gradient
from cnas.spaces.nats.topology import CONV_1X1, CONV_3X3, POOL, SKIP
from cnas.spaces.nats.total import Total
from cnas.spaces.nats.windowed import Incoming, Windowed, window_sums


class Rooms(NamedTuple):
    """Memory to work in."""

    bent: Tensor  # [P, C], kept for the way back
    pooled: Tensor  # [P, C], kept for the way back
    spare: Tensor  # [3, P, C], lost


class Wanted(NamedTuple):
    """Which gradients are asked for."""

    node: bool
    weights: bool
    kernels: bool


class FanGradients(NamedTuple):
    """What comes of the way back; None is what was not asked for."""

    node: Tensor | None  # [P, C]
    weights: Tensor | None  # [M, O]
    kernels: list[Tensor | None]


class FanRun:
    """A node and all that is run on it.

    Args:
        x_PC: the node.
        shape: (B, C, height, width).
        fan: what is run.
        kernels: as ``fan.kernels`` lists them.
        over: the pixels to normalise over.
        rooms: where to work.
    """

    def __init__(
        self, x_PC: Tensor, shape: torch.Size, fan: Fan, kernels: Sequence[Tensor], over: Pixels, rooms: Rooms
    ) -> None:
        self.x, self.shape, self.fan, self.over = x_PC, shape, fan, over
        self.pointwise: dict[int, Pointwise] = {}  # by position in the fan, as are the following
        self.windowed: dict[int, Windowed] = {}
        self.pooled: Tensor | None = None
        if kernels:
            bent_PC = torch.clamp_min(x_PC, 0, out=rooms.bent)
            sums_1C, count = over.ones @ bent_PC, len(fan.run[CONV_1X1])
            self._convolve_points(bent_PC, sums_1C, kernels[:count])
            self._convolve_windows(bent_PC, sums_1C, kernels[count:], rooms.spare[0])
        if fan.run[POOL]:
            places = (images(room, shape) for room in (rooms.pooled, rooms.spare[0]))
            self.pooled = pixels(pool(images(x_PC, shape), *places))

    def _convolve_points(self, bent_PC: Tensor, sums_1C: Tensor, kernels: Sequence[Tensor]) -> None:
        if kernels:
            moments = Moments(bent_PC, sums_1C, bent_PC.t() @ bent_PC, self.over)
            both = moments.mean_and_covariance()
            runs = [Pointwise(moments, *both, kernel) for kernel in kernels]
            self.pointwise = dict(zip(self.fan.run[CONV_1X1], runs, strict=True))

    def _convolve_windows(self, bent_PC: Tensor, sums_1C: Tensor, kernels: Sequence[Tensor], room_PC: Tensor) -> None:
        if kernels:
            kind = bent_PC.device.type
            dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else bent_PC.dtype
            bent = images(bent_PC, self.shape).to(dtype)
            (sums_1W,) = self.over.exchange([window_sums(bent.to(bent_PC.dtype), sums_1C[0])])
            means_W = (sums_1W / self.over.total)[0]
            runs = [Windowed(bent, means_W, kernel, self.over, room_PC) for kernel in kernels]
            self.windowed = dict(zip(self.fan.run[CONV_3X3], runs, strict=True))

    def add_to(self, total: Total, place: int, operation: int, weight: Tensor | None) -> None:
        """Add what one operation on one edge, counted by position in the fan, gives to the target of that edge."""
        if operation == CONV_1X1:
            self.pointwise[place].add_to(total, weight)
        elif operation == CONV_3X3:
            self.windowed[place].add_to(total, weight)
        else:
            same = self.pooled if operation == POOL else self.x
            assert same is not None
            total.add(same, weight)

    def differentiate(
        self,
        grads: Sequence[tuple[Tensor, Tensor]],
        weights_MO: Tensor | None,
        wanted: Wanted,
        rooms: Rooms,
        out: Tensor | None,
    ) -> FanGradients:
        """The way back.

        Args:
            grads: per edge, the gradient [P, C] of its target, and its sum [1, C] over the pixels of this process.
            weights_MO: of the edges; None where all are 1.
            wanted: what is asked for.
            rooms: ``spare`` is used.
            out: where to write the gradient of the node, unless there is memory for it anyway.
        """
        incoming = [
            {place: Incoming(*grads[place], weight_of(weights_MO, place, operation)) for place in places}
            for operation, places in enumerate(self.fan.run)
        ]
        by_weight = torch.zeros_like(weights_MO) if wanted.weights and weights_MO is not None else None
        total = Total(out)
        kernels = self._through_convolutions(incoming, by_weight, wanted, rooms.spare[0], total)
        if by_weight is not None:
            self._weigh(incoming, by_weight)
        if wanted.node:
            self._through_pool_and_skip(incoming, rooms.spare, total)
        return FanGradients(total.result() if wanted.node else None, by_weight, kernels)

    def _through_convolutions(
        self,
        incoming: Sequence[dict[int, Incoming]],
        by_weight: Tensor | None,
        wanted: Wanted,
        room_PC: Tensor,
        total: Total,
    ) -> list[Tensor | None]:
        """The gradients of the kernels; that of the node is added to ``total``, those of weights to ``by_weight``."""
        one, three = incoming[CONV_1X1], incoming[CONV_3X3]
        along = {(place, CONV_1X1): self.pointwise[place].along(each) for place, each in one.items()}
        along |= {(place, CONV_3X3): self.windowed[place].along(each, room_PC) for place, each in three.items()}
        if by_weight is not None:
            for pair, part in along.items():
                by_weight[pair] = part.sum()
        # For each edge Σ g and Σ g·y, over all processes.
        parts = [torch.cat([incoming[operation][place].sums, part]) for (place, operation), part in along.items()]
        shared = dict(zip(along, self.over.exchange(parts), strict=True))
        kernels: list[Tensor | None] = []
        for place, each in one.items():
            kernels.append(self.pointwise[place].differentiate(each, shared[place, CONV_1X1]))
        for place, each in three.items():
            both = shared[place, CONV_3X3]
            into_bent, into_kernel = self.windowed[place].differentiate(each, both, wanted[::2], room_PC)
            kernels.append(into_kernel)
            if into_bent is not None:
                total.take(into_bent)
        if wanted.node and one:
            bends = [self.pointwise[place].bend(each, shared[place, CONV_1X1], total) for place, each in one.items()]
            total.add_product(self.pointwise[next(iter(one))].moments.bent, torch.stack(bends).sum(0))
        if wanted.node and kernels:
            total.mask(self.x)
        return kernels

    def _weigh(self, incoming: Sequence[dict[int, Incoming]], by_weight: Tensor) -> None:
        """Fill in the gradients of the weights of pooling and of the identity."""
        for operation, values in ((POOL, self.pooled), (SKIP, self.x)):
            for place, each in incoming[operation].items():
                assert values is not None
                by_weight[place, operation] = torch.dot(each.grad.reshape(-1), values.reshape(-1))

    def _through_pool_and_skip(self, incoming: Sequence[dict[int, Incoming]], spare: Tensor, total: Total) -> None:
        """Add the gradient that comes to the node directly, and through pooling, which is linear."""
        for each in incoming[SKIP].values():
            total.add(each.grad, each.weight)
        pooled = Total(spare[0])
        for each in incoming[POOL].values():
            pooled.add(each.grad, each.weight)
        values = pooled.result()
        if values is None:
            return
        found = pixels(pool_gradient(*(images(each, self.shape) for each in (values, spare[1], spare[2]))))
        total.add(found, lent=True)


def weight_of(weights_MO: Tensor | None, place: int, operation: int) -> Tensor | None:
    """The weight of one operation on one edge; None where all are 1."""
    return None if weights_MO is None else weights_MO[place, operation]
