"""A token sequence cut into chunks that have nothing to do with one another, in an order drawn anew for every epoch.

For networks without a state that goes from batch to batch. A chunk is the same tokens in every epoch, which is what a
curriculum weight can belong to.

Legend: N tokens, C chunks, B chunks of a batch, T tokens of a chunk.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.errors import UserError
from cnas.random import HOST, generator
from cnas.types import Batch


class PackedChunks(OrderedBatches):
    """Every chunk once in a pass; what is left over behind the last one is dropped, and the last batch may be smaller.

    As built these are the batches of epoch 0.

    Args:
        tokens: int64 [N].
        batch_size: B, the chunks of the *global* batch.
        length: T; each chunk predicts that many tokens.
        unit: what a curriculum weight belongs to: a ``"sequence"`` (one chunk) or a ``"token"``.
        seed: of the orders; None leaves the chunks in the order of the text.

    Raises:
        UserError: there are too few tokens for one batch.

    Example:
        >>> chunks = PackedChunks(torch.arange(16), batch_size=2, length=3, seed=1)
        >>> [chunks.at_epoch(2).batch(index, slice(0, 2)).unit_ids[:, 0].tolist() for index in range(len(chunks))]
        [[4, 0], [2, 1], [3]]
        >>> chunks.scoring_view().batch(0, slice(0, 2)).labels.tolist()
        [[1, 2, 3], [4, 5, 6]]
    """

    def __init__(
        self,
        tokens: Tensor,
        batch_size: int,
        length: int,
        unit: Literal["sequence", "token"] = "sequence",
        *,
        seed: int | None,
    ) -> None:
        count = max(len(tokens) - 1, 0) // length
        if count < batch_size:
            raise UserError(
                f"{len(tokens)} tokens are too few for batch_size {batch_size} and text.length {length}: "
                f"at least {batch_size * length + 1} tokens are needed"
            )
        self.batch_size, self.length, self.unit, self.seed = batch_size, length, unit, seed
        self._inputs = tokens[: count * length].view(count, length)
        self._labels = tokens[1 : count * length + 1].view(count, length)
        self.num_units = count * (1 if unit == "sequence" else length)
        self._enter(0)

    def _enter(self, epoch: int) -> None:
        count = len(self._inputs)
        self._order = (
            torch.arange(count, device=HOST)
            if self.seed is None
            else torch.randperm(count, generator=generator(self.seed, "text/chunks", epoch), device=HOST)
        )

    def scoring_view(self) -> PackedChunks:
        """The same chunks in the order of the text."""
        view = copy.copy(self)
        view.seed = None
        return view.at_epoch(0)

    def __len__(self) -> int:
        """How many batches a pass has."""
        return (len(self._inputs) - 1) // self.batch_size + 1

    def rows(self, index: int) -> int:
        """How many chunks global batch ``index`` has: B, or what is left in the last one.

        Raises:
            IndexError: there is no such batch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        return min(self.batch_size, len(self._inputs) - index * self.batch_size)

    def batch(self, index: int, rows: slice) -> Batch:
        """Chunks ``rows`` of global batch ``index``: inputs, labels and unit ids, int64 [b, T].

        Raises:
            IndexError: there is no such batch.
        """
        start = index * self.batch_size
        chosen = self._order[start : start + self.rows(index)][rows]
        unit_ids = chosen[:, None].expand(-1, self.length)
        if self.unit == "token":
            unit_ids = unit_ids * self.length + torch.arange(self.length, device=HOST)
        return Batch(self._inputs[chosen], self._labels[chosen], unit_ids)
