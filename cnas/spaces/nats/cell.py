"""One cell of the supernet: the convolutions of all its edges.

Legend: B images, C channels, E edges, O operations.
"""

from __future__ import annotations

from torch import Tensor, nn

from cnas.spaces._memory import SpareMemory
from cnas.spaces.nats.norm import Pixels
from cnas.spaces.nats.plan import Plan
from cnas.spaces.nats.tape import run_cell
from cnas.spaces.nats.topology import CONV_1X1, EDGES
from cnas.types import Choice


class Edge(nn.Module):
    """The two convolutions that may stand on one edge, as `torch.nn.Conv2d` initialises them.

    They have biases, as in the published search; the normalisation behind them would take these away, so that they are
    never added and never get a gradient.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_1x1 = nn.Conv2d(channels, channels, 1)
        self.conv_3x3 = nn.Conv2d(channels, channels, 3, padding=1)


class SearchCell(nn.Module):
    """Every operation on every edge.

    Args:
        channels: C, of what comes in and goes out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(Edge(channels) for _ in EDGES)
        self.memory = SpareMemory()

    def kernel(self, pair: Choice) -> Tensor:
        """[C, C, size, size] of the convolution that a pair stands for."""
        edge, operation = pair
        found = self.edges[edge]
        assert isinstance(found, Edge)
        return (found.conv_1x1 if operation == CONV_1X1 else found.conv_3x3).weight

    def forward(self, x_BCHW: Tensor, plan: Plan, weights_EO: Tensor | None, over: Pixels) -> Tensor:
        """The output [B, C, height, width] of a routing.

        Args:
            x_BCHW: the input.
            plan: what is run.
            weights_EO: with what weight; None where every weight is 1.
            over: the pixels to normalise over.
        """
        kernels = [self.kernel(pair) for pair in plan.kernels]
        return run_cell(x_BCHW, weights_EO, kernels, plan, over, self.memory)
