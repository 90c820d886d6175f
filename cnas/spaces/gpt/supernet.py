"""The supernet of decoders: the largest one, of which every smaller one is a part.

A smaller network uses the first rows, columns and layers of each matrix, and the first heads; its gradient is that of
the network on its own inside the slices, and zero outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from cnas.errors import UserError
from cnas.spaces._stock import EMBEDDING, NO_MASKS, Masks, Shape, losses, parameters_of
from cnas.spaces.supernet import SuperNet
from cnas.types import Batch, Choice, Output, Routing


class GptSuperNet(SuperNet):
    """Shared weights of all decoders of a space.

    Args:
        network: the stock decoder of the largest architecture, as `prepare` leaves it.
        largest: its sizes.
        shape_of: the sizes that one choice per decision stands for.
    """

    def __init__(self, network: Any, largest: Shape, shape_of: Callable[[Sequence[Choice]], Shape]) -> None:
        super().__init__()
        self.network, self.largest, self.shape_of, self.outcomes = network, largest, shape_of, network.outcomes
        self._drawn: tuple[Any, Masks] = (None, NO_MASKS)

    def forward(self, batch: Batch, routing: Routing) -> Output:
        """Per-token losses of one architecture. Logits are never held at once.

        Raises:
            UserError: the routing is no single path.
        """
        (choices,) = routing.active if len(routing.active) == 1 else ((),)
        if not routing.unit or sorted(edge for edge, _ in choices) != [0, 1, 2, 3]:
            raise UserError("a supernet of sizes runs single paths only: no mixture, and every layer the same")
        shape, weights = self.shape_of(sorted(choices)), dict(self.network.named_parameters())
        masks = NO_MASKS
        if self.training:
            masks = self._masks(batch, weights[EMBEDDING]).cut(shape)
        found = losses(cut(weights, shape), shape, batch, masks, self.network.memory)
        return Output(found, None, None, found.new_zeros(()))

    def _masks(self, batch: Batch, like: Tensor) -> Masks:
        """Those of the largest architecture, kept for the other paths of a step."""
        asked = batch.dropout_seeds, len(batch.inputs), like.dtype, like.device
        if batch.dropout_seeds is None or self._drawn[0] != asked:
            self._drawn = asked, Masks.draw(self.network.dropout_rates, batch, self.largest, like)
        return self._drawn[1]


def cut(weights: Mapping[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """The part of a larger decoder's weights that a smaller one uses, by the same names.

    Args:
        weights: of the larger one, by their names in `LlamaForCausalLM`.
        shape: of the smaller one.
    """
    sizes = parameters_of(shape, len(weights[EMBEDDING]))
    return {name: weights[name][tuple(slice(count) for count in size)] for name, size in sizes.items()}
