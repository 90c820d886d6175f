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
from cnas.spaces.nats.pointwise import Pointwise
from cnas.spaces.nats.pooling import pool, pool_gradient
from cnas.spaces.nats.topology import CONV_1X1, CONV_3X3, POOL, SKIP
from cnas.spaces.nats.total import Total
from cnas.spaces.nats.windowed import Windowed


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
        weights_MO: of the edges; None where all are 1.
        over: the pixels to normalise over.
        rooms: where to work.
    """

    def __init__(
        self,
        x_PC: Tensor,
        shape: torch.Size,
        fan: Fan,
        kernels: Sequence[Tensor],
        weights_MO: Tensor | None,
        over: Pixels,
        rooms: Rooms,
    ) -> None:
        self.x, self.shape, self.fan, self.weights_MO, self.over = x_PC, shape, fan, weights_MO, over
        self.pointwise: Pointwise | None = None
        self.windowed: Windowed | None = None
        self.pooled: Tensor | None = None
        if kernels:
            self._convolve(kernels, rooms)
        if fan.run[POOL]:
            places = (images(room, shape) for room in (rooms.pooled, rooms.spare[0]))
            self.pooled = pixels(pool(images(x_PC, shape), *places))

    def _convolve(self, kernels: Sequence[Tensor], rooms: Rooms) -> None:
        bent_PC = torch.clamp_min(self.x, 0, out=rooms.bent)
        sums_1C, count = self.over.ones @ bent_PC, len(self.fan.run[CONV_1X1])
        one, three = (self._weights(operation) for operation in (CONV_1X1, CONV_3X3))
        if kernels[:count]:
            self.pointwise = Pointwise(bent_PC, sums_1C, kernels[:count], one, self.over)
        if kernels[count:]:
            bent = images(bent_PC, self.shape)
            self.windowed = Windowed(bent, sums_1C, kernels[count:], three, self.over, rooms.spare[0])

    def _weights(self, operation: int) -> Tensor | None:
        """Those of one operation, of the edges it is run on."""
        return None if self.weights_MO is None else self.weights_MO[list(self.fan.run[operation]), operation]

    def add_to(self, total: Total, place: int, operation: int) -> None:
        """Add what one operation on one edge, counted by position in the fan, gives to the target of that edge."""
        if operation in (CONV_1X1, CONV_3X3):
            run = self.pointwise if operation == CONV_1X1 else self.windowed
            assert run is not None
            run.add_to(total, self.fan.run[operation].index(place))
        else:
            same = self.pooled if operation == POOL else self.x
            assert same is not None
            total.add(same, self._weight(place, operation))

    def _weight(self, place: int, operation: int) -> Tensor | None:
        return None if self.weights_MO is None else self.weights_MO[place, operation]

    def differentiate(
        self,
        grads: Sequence[tuple[Tensor, Tensor]],
        wanted: Wanted,
        rooms: Rooms,
        out: Tensor | None,
    ) -> FanGradients:
        """The way back.

        Args:
            grads: per edge, the gradient [P, C] of its target, and its sum [1, C] over the pixels of this process.
            wanted: what is asked for.
            rooms: ``spare`` is used.
            out: where to write the gradient of the node, unless there is memory for it anyway.
        """
        by_weight = torch.zeros_like(self.weights_MO) if wanted.weights and self.weights_MO is not None else None
        total, kernels = Total(out), list[Tensor | None]()
        if self.fan.kernels:
            kernels = self._through_convolutions(grads, by_weight, wanted, rooms.spare[0], total)
        if by_weight is not None:
            self._weigh(grads, by_weight)
        if wanted.node:
            self._through_pool_and_skip(grads, rooms.spare, total)
        return FanGradients(total.result() if wanted.node else None, by_weight, kernels)

    def _through_convolutions(
        self,
        grads: Sequence[tuple[Tensor, Tensor]],
        by_weight: Tensor | None,
        wanted: Wanted,
        room_PC: Tensor,
        total: Total,
    ) -> list[Tensor | None]:
        """The gradients of the kernels; that of the node is added to ``total``, those of weights to ``by_weight``."""
        places = self.fan.run[CONV_1X1] + self.fan.run[CONV_3X3]
        own, count = [grads[place][0] for place in places], len(self.fan.run[CONV_1X1])
        sums_MC, along = torch.cat([grads[place][1] for place in places]), list[Tensor]()
        if self.pointwise is not None:
            products_MCC, found_MC = self.pointwise.along(own[:count], sums_MC[:count])
            along.append(found_MC)
        if self.windowed is not None:
            along.append(self.windowed.along(own[count:], room_PC))
        along_MC = torch.cat(along)
        if by_weight is not None:
            operations = [CONV_1X1] * count + [CONV_3X3] * (len(places) - count)
            by_weight[list(places), operations] = along_MC.sum(1)
        means_MC, slopes_MC = (part / self.over.total for part in self.over.exchange([sums_MC, along_MC]))
        kernels: list[Tensor | None] = []
        if self.windowed is not None:
            shared = means_MC[count:], slopes_MC[count:]
            into_bent, kernels = self.windowed.differentiate(own[count:], *shared, wanted[::2], room_PC)
            for each in into_bent:
                total.take(each)
        if self.pointwise is not None:
            into = total if wanted.node else None
            shared = means_MC[:count], slopes_MC[:count]
            kernels = [*self.pointwise.differentiate(own[:count], products_MCC, *shared, into), *kernels]
        if wanted.node:
            total.mask(self.x)
        return kernels

    def _weigh(self, grads: Sequence[tuple[Tensor, Tensor]], by_weight: Tensor) -> None:
        """Fill in the gradients of the weights of pooling and of the identity."""
        for operation, values in ((POOL, self.pooled), (SKIP, self.x)):
            for place in self.fan.run[operation]:
                assert values is not None
                by_weight[place, operation] = torch.dot(grads[place][0].reshape(-1), values.reshape(-1))

    def _through_pool_and_skip(self, grads: Sequence[tuple[Tensor, Tensor]], spare: Tensor, total: Total) -> None:
        """Add the gradient that comes to the node directly, and through pooling, which is linear."""
        for place in self.fan.run[SKIP]:
            total.add(grads[place][0], self._weight(place, SKIP))
        pooled = Total(spare[0])
        for place in self.fan.run[POOL]:
            pooled.add(grads[place][0], self._weight(place, POOL))
        values = pooled.result()
        if values is not None:
            found = pool_gradient(*(images(each, self.shape) for each in (values, spare[1], spare[2])))
            # What is left in the spare room is lost.
            total.add(pixels(found), lent=True)
