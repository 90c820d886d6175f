"""A token sequence as B parallel streams, cut into chunks of a fixed length.

Chunks are cut at multiples of the length from the start of the streams in every pass, so that (chunk, stream) names
the same tokens each time: that is what a curriculum weight can belong to.

Legend: N tokens, B streams, L tokens of a stream, P predictions of a stream, T tokens of a chunk.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.errors import UserError
from cnas.types import Batch


class TextStreams(OrderedBatches):
    """B contiguous streams of one token sequence, read side by side, chunk by chunk.

    The tokens are trimmed to a multiple of B and laid out as B rows of L tokens. Each token is predicted from those
    before it in its row. A row's first token has none before it, so P = L - 1; where ``start`` is given that token is
    put before every row, every token is predicted once, and P = L.

    Args:
        tokens: int64 [N].
        batch_size: B, the streams of the *global* batch.
        length: T; each chunk predicts that many tokens per stream.
        unit: what a curriculum weight belongs to: a ``"sequence"`` (one chunk of one stream) or a ``"token"``.
        start: id of the token to put before each stream, e.g. ``<eos>``; None for none.
        tail: what becomes of the last P mod T predictions: ``"drop"`` them or ``"keep"`` them as a shorter chunk.

    Raises:
        UserError: the streams are too short for one chunk.

    Example:
        >>> streams = TextStreams(torch.arange(14), batch_size=2, length=3)
        >>> len(streams), streams.num_units
        (2, 4)
        >>> batch = streams.batch(1, slice(0, 2))
        >>> batch.inputs.tolist(), batch.labels.tolist(), batch.unit_ids.tolist()
        ([[3, 4, 5], [10, 11, 12]], [[4, 5, 6], [11, 12, 13]], [[2, 2, 2], [3, 3, 3]])
    """

    def __init__(
        self,
        tokens: Tensor,
        batch_size: int,
        length: int = 35,
        unit: Literal["sequence", "token"] = "sequence",
        *,
        start: int | None = None,
        tail: Literal["drop", "keep"] = "drop",
    ) -> None:
        self.batch_size, self.length, self.unit = batch_size, length, unit
        stream = len(tokens) // batch_size
        rows_BL = tokens[: stream * batch_size].view(batch_size, stream)
        if start is not None:
            rows_BL = torch.cat([rows_BL.new_full((batch_size, 1), start), rows_BL], dim=1)
        # P // T full chunks: with P = L - 1 the label of the last prediction is the last token of its row. L // T gives
        # the same counts on PTB, but where T divides L its last chunk would ask for a label beyond the end.
        self._rows = rows_BL
        predictions = max(rows_BL.shape[1] - 1, 0)
        full, rest = divmod(predictions, length)
        self._chunks = full + (tail == "keep" and rest > 0)
        self._predictions = predictions if tail == "keep" else full * length
        if not self._chunks:
            needed = batch_size * ((length if tail == "drop" else 1) + (start is None))
            raise UserError(
                f"{len(tokens)} tokens are too few for batch_size {batch_size} and text.length {length}: "
                f"at least {needed} tokens are needed"
            )
        self.num_units = batch_size * (self._chunks if unit == "sequence" else self._predictions)

    def __len__(self) -> int:
        """How many chunks a stream has."""
        return self._chunks

    def batch(self, index: int, rows: slice) -> Batch:
        """Chunk ``index`` of the streams ``rows``: inputs, labels and unit ids, int64 [b, T].

        Raises:
            IndexError: there is no such chunk.
        """
        if not 0 <= index < self._chunks:
            raise IndexError(f"chunk {index} of {self._chunks}")
        begin = index * self.length
        end = min(begin + self.length, self._predictions)
        rows_bP = self._rows[rows]
        inputs_bT = rows_bP[:, begin:end].contiguous()
        labels_bT = rows_bP[:, begin + 1 : end + 1].contiguous()
        return Batch(inputs_bT, labels_bT, self._unit_ids(index, end - begin)[rows])

    def _unit_ids(self, index: int, width: int) -> Tensor:
        """int64 [B, T]: all units of one chunk; ids are dense, also over a shorter last chunk."""
        streams_B1 = torch.arange(self.batch_size, device=self._rows.device)[:, None]
        if self.unit == "sequence":
            return (index * self.batch_size + streams_B1).expand(-1, width)
        steps_T = torch.arange(width, device=self._rows.device)
        return index * self.batch_size * self.length + streams_B1 * width + steps_T
