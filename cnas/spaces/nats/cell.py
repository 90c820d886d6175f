"""One cell of the supernet: every operation on every edge, of which a routing runs some.

    node_t = Σ w_o·op_o(node_s)        over the edges s→t and the operations o that are active on them

Legend: B images, C channels, E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property, reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnas.spaces.nats.norm import AllSum, BatchNorm
from cnas.spaces.nats.skeleton import pool
from cnas.spaces.nats.topology import CONV_1X1, EDGES, NONE, OPERATIONS, OUTPUT, POOL, SKIP, leading_to_output
from cnas.types import Choice

PAIRS = tuple((edge, operation) for edge in range(len(EDGES)) for operation in range(len(OPERATIONS)))


class Edge(nn.Module):
    """The two convolutions that may stand on one edge, as `torch.nn.Conv2d` initialises them.

    They have biases, as in the published search; the normalisation behind them would take these away, so that they are
    never added and never get a gradient.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_1x1 = nn.Conv2d(channels, channels, 1)
        self.conv_3x3 = nn.Conv2d(channels, channels, 3, padding=1)


class Node:
    """The values [B, C, height, width] of a node, and what several edges read of them, computed once."""

    def __init__(self, values_BCHW: Tensor) -> None:
        self.values = values_BCHW

    @cached_property
    def bent(self) -> Tensor:
        """What a convolution reads."""
        return self.values.relu()

    @cached_property
    def pooled(self) -> Tensor:
        """What pooling puts out."""
        return pool(self.values)


class SearchCell(nn.Module):
    """Every operation on every edge.

    A convolution is run, and gets a gradient, where it is active and active operations lead on to the output; ``none``
    leads nowhere. A node that nothing enters is zero times the input of the cell: so a gradient, even if it is zero,
    reaches all that is run, and what comes before the cell.

    Args:
        channels: C, of what comes in and goes out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(Edge(channels) for _ in EDGES)
        self.norm = BatchNorm(channels, own=False)

    def forward(
        self, x_BCHW: Tensor, active: Collection[Choice], weights_EO: Tensor | None, all_reduce_sum: AllSum | None
    ) -> Tensor:
        """The output [B, C, height, width] of a routing.

        Args:
            x_BCHW: the input.
            active: the (edge, operation) pairs that are run.
            weights_EO: with what weight; None where every weight is 1.
            all_reduce_sum: the sum over processes, differentiable; None where there is one.
        """
        weights = None if weights_EO is None else dict(zip(PAIRS, weights_EO.flatten().unbind(), strict=True))
        nodes = {0: Node(x_BCHW)}
        for target in sorted(leading_to_output({edge for edge, operation in active if operation != NONE}) - {0}):
            terms, idle = list[Tensor](), list[Tensor]()
            for edge, operation in (pair for pair in PAIRS if EDGES[pair[0]][0] == target):
                weight = None if weights is None else weights[edge, operation]
                if (edge, operation) not in active:
                    idle += [] if weight is None or not weight.requires_grad else [weight]
                elif operation != NONE:
                    term = self._run(edge, operation, nodes[EDGES[edge][1]], all_reduce_sum)
                    terms.append(term if weight is None else term * weight)
            nodes[target] = Node(reduce(torch.add, [*(terms or [x_BCHW * 0]), *_nothing(idle)]))
        return nodes[OUTPUT].values

    def _run(self, edge: int, operation: int, node: Node, all_reduce_sum: AllSum | None) -> Tensor:
        """One operation on one edge."""
        if operation in (SKIP, POOL):
            return node.values if operation == SKIP else node.pooled
        found = self.edges[edge]
        assert isinstance(found, Edge)
        conv = found.conv_1x1 if operation == CONV_1X1 else found.conv_3x3
        normed: Tensor = self.norm(F.conv2d(node.bent, conv.weight, padding=conv.padding), all_reduce_sum)
        return normed


def _nothing(weights: list[Tensor]) -> list[Tensor]:
    """A zero through which ``weights`` get a gradient, if there are any."""
    total = torch.stack(weights).sum() if weights else None
    return [] if total is None else [total - total.detach()]
