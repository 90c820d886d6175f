"""The NATS supernet: all five operations on all six edges of all cells, of which a routing runs some.

    node_t = Σ w_o·op_o(node_s)        over the edges s→t and the operations o that are active on them

Legend: B images, C cells (in shapes of values: channels), E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial, reduce

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from cnas.errors import UserError
from cnas.spaces.nats.norm import AllSum, BatchNorm
from cnas.spaces.nats.skeleton import Skeleton, classification_losses, pool
from cnas.spaces.nats.topology import CONV_1X1, EDGES, NONE, OPERATIONS, OUTPUT, POOL, SKIP, leading_to_output
from cnas.spaces.pure import Compile, PureForward
from cnas.spaces.supernet import SuperNet
from cnas.types import Batch, Choice, Output, Routing

PAIRS = tuple((edge, operation) for edge in range(len(EDGES)) for operation in range(len(OPERATIONS)))


class NatsSuperNet(SuperNet):
    """Shared weights of all NATS architectures, one copy of each operation per edge and cell.

    Inside the cells and behind the last one, normalisations have no parameters and no memory: their statistics are
    those of the batch at hand, in training and in evaluation. Those of stem and reductions have both; they move
    in training and are used in evaluation (the published search code does the same).

    Args:
        channels: of the first stage.
        cells: in each of three stages.
        classes: number of labels.
        image_channels: of an image.
    """

    batch_statistics = True
    classifies = True
    scorings = ("published", "batch_statistics")

    def __init__(self, channels: int, cells: int, classes: int, image_channels: int) -> None:
        super().__init__()
        self.outcomes = classes
        self.skeleton = Skeleton(channels, cells, classes, image_channels, SearchCell, own_norm=False)

    def forward(self, batch: Batch, routing: Routing) -> Output:
        """Losses [B] and logits [B, classes] of a path, a soft mixture or a hard sample, shared by all cells or not.

        Args:
            batch: images [B, channels, height, width] of any floating dtype, labels int64 [B].
            routing: of one cell, or of as many as there are.

        Raises:
            UserError: the routing has another number of cells.
        """
        places, weights_CEO = self._places(routing), self._weights(routing)
        x = self.skeleton.run_stem(batch.inputs, batch.all_reduce_sum)
        for stage, cells in enumerate(self.skeleton.cells()):
            for cell in cells:
                place = next(places)
                weights_EO = None if weights_CEO is None else weights_CEO[place]
                x = cell(x, routing.active[place], weights_EO, batch.all_reduce_sum)
            x = self.skeleton.reduce(stage, x, batch.all_reduce_sum)
        logits = self.skeleton.classify(x, batch.all_reduce_sum)
        losses = classification_losses(logits, batch.labels)
        return Output(losses, logits, None, losses.new_zeros(()))

    @contextmanager
    def scored_by(self, scoring: str) -> Iterator[None]:
        """See `SuperNet.scored_by`; under ``batch_statistics`` no norm uses running averages of many subnets."""
        norms = [each for each in self.modules() if isinstance(each, BatchNorm)]
        with super().scored_by(scoring):
            for norm in norms:
                norm.ignores_averages = scoring == "batch_statistics"
            try:
                yield
            finally:
                for norm in norms:
                    norm.ignores_averages = False

    def pure(self, batch: Batch, routing: Routing) -> PureForward | None:
        """See `SuperNet.pure`: of mixtures of everything, in one process.

        None of paths and hard samples, of which there are too many for a recording each, and where normalisations take
        sums over processes.
        """
        if batch.all_reduce_sum is not None or any(set(active) != set(PAIRS) for active in routing.active):
            return None
        # In a cell no bias is ever added.
        names = [name for name in self.state_dict() if not ("edges." in name and name.endswith(".bias"))]
        return PureForward(
            key=(type(self), self.training, routing.active),
            function=partial(self._run_pure, routing.active),
            tensors={"inputs": batch.inputs, "labels": batch.labels, "weights": routing.weights},
            weights={name: name for name in names},
        )

    def _run_pure(
        self,
        active: tuple[tuple[Choice, ...], ...],
        values: Mapping[str, Tensor],
        compiled: Compile,  # noqa: ARG002 - most of the time is in convolutions
        dtype: torch.dtype | None,
    ) -> Output:
        own = {name: values[name] for name in self.state_dict() if name in values}
        # Running averages move in place: in copies, which are part of the output.
        moved = {name: values[name].clone() for name, _ in self.named_buffers()}
        batch = Batch(values["inputs"], values["labels"], unit_ids=values["labels"])  # no unit is looked at
        # Autocast would keep weights as they were when the pass was recorded, if it had its cache.
        device, halves = batch.inputs.device.type, dtype is not None and dtype.itemsize < torch.float32.itemsize
        with torch.autocast(device, dtype, cache_enabled=False) if halves else nullcontext():
            output = functional_call(self, own | moved, (batch, Routing(values["weights"], active)))
        return replace(output, buffers=moved)

    def _places(self, routing: Routing) -> Iterator[int]:
        """For every cell, its index into the routing."""
        count = sum(map(len, self.skeleton.cells()))
        if len(routing.active) not in {1, count} or len(routing.weights) != len(routing.active):
            raise UserError(
                f"routing must be of 1 cell or of {count}, got {len(routing.active)} and weights of "
                f"{len(routing.weights)}"
            )
        return iter(range(count) if len(routing.active) > 1 else [0] * count)

    def _weights(self, routing: Routing) -> Tensor | None:
        """The routing's weights [C|1, E, O]; None where all of them are 1."""
        if routing.unit and not routing.weights.requires_grad:
            return None
        return routing.weights_like(self.skeleton.classifier.weight)


class Edge(nn.Module):
    """The two convolutions of one edge, as `torch.nn.Conv2d` initialises them.

    They have biases, as in the published search; the normalisation behind them would take these away, so that they are
    never added and never get a gradient.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_1x1 = nn.Conv2d(channels, channels, 1)
        self.conv_3x3 = nn.Conv2d(channels, channels, 3, padding=1)


class Node:
    """The values [B, C, height, width] of a node, and their ReLU and mean pooling, computed once for all edges."""

    def __init__(self, values_BCHW: Tensor) -> None:
        self.values = values_BCHW

    @cached_property
    def activated(self) -> Tensor:
        """The ReLU, which a convolution reads."""
        return self.values.relu()

    @cached_property
    def pooled(self) -> Tensor:
        """The mean of each pixel and its neighbours."""
        return pool(self.values)


class SearchCell(nn.Module):
    """A cell with every operation on every edge, of which a routing runs some.

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
            nodes[target] = Node(reduce(torch.add, [*(terms or [x_BCHW * 0]), *_zero_of(idle)]))
        return nodes[OUTPUT].values

    def _run(self, edge: int, operation: int, node: Node, all_reduce_sum: AllSum | None) -> Tensor:
        """One operation on one edge."""
        if operation in (SKIP, POOL):
            return node.values if operation == SKIP else node.pooled
        found = self.edges[edge]
        assert isinstance(found, Edge)
        conv = found.conv_1x1 if operation == CONV_1X1 else found.conv_3x3
        normed: Tensor = self.norm(F.conv2d(node.activated, conv.weight, padding=conv.padding), all_reduce_sum)
        return normed


def _zero_of(weights: list[Tensor]) -> list[Tensor]:
    """A zero through which ``weights`` get a gradient, if there are any."""
    total = torch.stack(weights).sum() if weights else None
    return [] if total is None else [total - total.detach()]
