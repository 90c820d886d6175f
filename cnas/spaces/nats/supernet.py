"""The NATS supernet: all five operations on all six edges of all cells.

Legend: B images, C cells, E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from cnas.errors import UserError
from cnas.spaces.base import SuperNet
from cnas.spaces.nats.cell import SearchCell
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
        places, weights_CEO = self._places(routing), self._weights(routing)
        x = self.skeleton.begin(batch.inputs, batch.all_reduce_sum)
        for stage, cells in enumerate(self.skeleton.cells()):
            for cell in cells:
                place = next(places)
                weights_EO = None if weights_CEO is None else weights_CEO[place]
                x = cell(x, routing.active[place], weights_EO, batch.all_reduce_sum)
            x = self.skeleton.reduce(stage, x, batch.all_reduce_sum)
        logits = self.skeleton.end(x, batch.all_reduce_sum)
        losses = classification_losses(logits, batch.labels)
        return Output(losses, logits, None, losses.new_zeros(()))

    def _places(self, routing: Routing) -> Iterator[int]:
        """For every cell, which of the routing's it is."""
        count = sum(map(len, self.skeleton.cells()))
        if len(routing.active) not in {1, count} or len(routing.weights) != len(routing.active):
            raise UserError(
                f"routing must be of 1 cell or of {count}, got {len(routing.active)} and weights of "
                f"{len(routing.weights)}"
            )
        return iter(range(count) if len(routing.active) > 1 else [0] * count)

    def _weights(self, routing: Routing) -> Tensor | None:
        """[C|1, E, O]; None where no product with them is needed."""
        if routing.unit and not routing.weights.requires_grad:
            return None
        return routing.weights_like(self.skeleton.classifier.weight)
