"""The NATS supernet: all five operations on all six edges of all cells.

Legend: B images, C cells, E edges, O operations, K candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from cnas.errors import UserError
from cnas.spaces.base import SuperNet
from cnas.spaces.nats.candidates import Shared, run_candidates
from cnas.spaces.nats.cell import SearchCell
from cnas.spaces.nats.norm import Pixels, exactly
from cnas.spaces.nats.plan import Plan, plan_cell
from cnas.spaces.nats.skeleton import Skeleton, classification_losses
from cnas.types import Batch, Output, Routing


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
        plans, weights = self._plans(routing), self._weights(routing)
        x, cell = self.skeleton.begin(batch.inputs, batch.all_sum), 0
        for stage, cells in enumerate(self.skeleton.cells()):
            over = Pixels(x, batch.all_sum)
            for each in cells:
                place = cell % len(plans)
                x, cell = each(x, plans[place], None if weights is None else weights[place], over), cell + 1
            x = self.skeleton.reduce(stage, x, batch.all_sum)
        logits = self.skeleton.end(x, batch.all_sum)
        losses = classification_losses(logits, batch.labels)
        return Output(losses, logits, None, losses.new_zeros(()))

    def forward_many(
        self, batch: Batch, routings: Sequence[Routing], carries: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Losses [K, B] of K paths, in which common beginnings are run once; mixtures fall to the base class's loop."""
        if not all(routing.unit for routing in routings):
            return super().forward_many(batch, routings, carries)
        logits = self._logits_of_paths(batch, routings)
        return torch.stack([classification_losses(each, batch.labels) for each in logits]), list(carries)

    def hits_many(self, batch: Batch, routings: Sequence[Routing]) -> Tensor:
        """Which predictions are right, bool [K, B]; like `forward_many`."""
        if not all(routing.unit for routing in routings):
            return super().hits_many(batch, routings)
        return torch.stack([each.argmax(-1) == batch.labels for each in self._logits_of_paths(batch, routings)])

    @torch.no_grad()
    def _logits_of_paths(self, batch: Batch, routings: Sequence[Routing]) -> list[Tensor]:
        """[B, classes] for each of K paths, in evaluation."""
        was_training = self.training
        self.eval()
        try:
            return self._run_paths(batch, [self._plans(routing) for routing in routings])
        finally:
            self.train(was_training)

    def _run_paths(self, batch: Batch, plans_K: Sequence[Sequence[Plan]]) -> list[Tensor]:
        shared, count = Shared([self.skeleton.begin(batch.inputs, batch.all_sum)], [0] * len(plans_K)), 0
        for stage, cells in enumerate(self.skeleton.cells()):
            over = Pixels(shared.values[0], batch.all_sum)
            for cell in cells:
                plans = [own[count % len(own)] for own in plans_K]
                with exactly(shared.values[0]):
                    shared = run_candidates(shared, plans, cell.kernel, over, cell.memory)
                count += 1
            shared = shared.each(partial(self.skeleton.reduce, stage, all_sum=batch.all_sum))
        return shared.each(partial(self.skeleton.end, all_sum=batch.all_sum)).all()

    def _plans(self, routing: Routing) -> list[Plan]:
        """One per cell, or one for all."""
        count = sum(map(len, self.skeleton.cells()))
        if len(routing.active) not in {1, count} or len(routing.weights) != len(routing.active):
            raise UserError(
                f"routing must be of 1 cell or of {count}, got {len(routing.active)} and weights of "
                f"{len(routing.weights)}"
            )
        graph = routing.weights.requires_grad
        return [plan_cell(active, graph) for active in routing.active]

    def _weights(self, routing: Routing) -> Tensor | None:
        """[C|1, E, O]; None where no product with them is needed."""
        if routing.unit and not routing.weights.requires_grad:
            return None
        return routing.weights_like(self.skeleton.classifier.weight)
