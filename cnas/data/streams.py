"""A token sequence as B parallel streams, cut into chunks: of a fixed length, or of lengths drawn anew in every epoch.

Chunks of a fixed length are cut at its multiples from the start of the streams in every pass, so that (chunk, stream)
names the same tokens each time: that is what a curriculum weight can belong to.

Drawn lengths are how DARTS trains its recurrent networks, for those who reproduce it. A chunk of one epoch is no chunk
of the next, so no curriculum weight can belong to it. The two rules are those of ``rnn/train_search.py`` and
``rnn/train.py`` in the code of Liu et al. (2019), where the length is 35.

Legend: N tokens, B streams, L tokens of a stream, P predictions of a stream, T tokens of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.errors import UserError
from cnas.random import generator
from cnas.types import Batch

Lengths = Callable[[int, torch.Generator], int]
"""Draws the length of one chunk, at least 1, given the usual one."""

SHORTEST, LONGER, SPREAD = 5, 20, 5.0
"""Of scattered lengths: the least, how far above the usual one the greatest is, the standard deviation."""


def _halved(length: int, draws: torch.Generator) -> float:
    """The length, or, one time in twenty, half of it."""
    return length if float(torch.rand((), generator=draws)) < 0.95 else length / 2


def halving_lengths(length: int, draws: torch.Generator) -> int:
    """How the search of DARTS draws: the usual length, or, one time in twenty, half of it rounded down.

    Args:
        length: the usual one, at least 2.
        draws: the generator to draw from.

    Example:
        >>> draws = generator(1, "example")
        >>> sorted({halving_lengths(35, draws) for _ in range(200)})
        [17, 35]
    """
    return int(_halved(length, draws))


def scattered_lengths(length: int, draws: torch.Generator) -> int:
    """How the training of a cell that DARTS has found draws: normal around the usual length or half of it.

    The standard deviation is 5; the result is rounded towards zero and lies between 5 and ``length`` + 20.

    Args:
        length: the usual one.
        draws: the generator to draw from.

    Example:
        >>> draws = generator(1, "example")
        >>> all(5 <= scattered_lengths(35, draws) <= 55 for _ in range(200))
        True
    """
    drawn = int(_halved(length, draws) + SPREAD * float(torch.randn((), generator=draws)))
    return min(max(SHORTEST, drawn), length + LONGER)


def _rows(tokens: Tensor, batch_size: int) -> Tensor:
    """Tokens laid out as B contiguous streams [B, L], less those that are left over."""
    stream = len(tokens) // batch_size
    return tokens[: stream * batch_size].view(batch_size, stream)


class _Chunks(OrderedBatches):
    """Streams that are cut into chunks, all at the same places."""

    _rows: Tensor
    _cuts: list[int]
    unit: Literal["sequence", "token"] = "sequence"
    context: int = 0

    def __len__(self) -> int:
        """How many chunks a stream has."""
        return len(self._cuts) - 1

    def batch(self, index: int, rows: slice) -> Batch:
        """Chunk ``index`` of the streams ``rows``: inputs, labels and unit ids, int64 [b, T].

        Before the inputs come up to ``context`` earlier tokens, which have no labels.

        Raises:
            IndexError: there is no such chunk.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"chunk {index} of {len(self)}")
        start, end = self._cuts[index : index + 2]
        rows_bL = self._rows[rows]
        inputs_bT = rows_bL[:, max(0, start - self.context) : end].contiguous()
        labels_bT = rows_bL[:, start + 1 : end + 1].contiguous()
        return Batch(inputs_bT, labels_bT, self._unit_ids(index, start, end - start)[rows])

    def _unit_ids(self, index: int, start: int, width: int) -> Tensor:
        """int64 [B, T]: all units of one chunk; ids are dense, also over a shorter last chunk."""
        streams_B1 = torch.arange(self.batch_size, device=self._rows.device)[:, None]
        if self.unit == "sequence":
            return (index * self.batch_size + streams_B1).expand(-1, width)
        return start * self.batch_size + streams_B1 * width + torch.arange(width, device=self._rows.device)


class TextStreams(_Chunks):
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
        context: so many tokens before a chunk are read as well, for networks without a state that goes on.

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
        context: int = 0,
    ) -> None:
        self.batch_size, self.length, self.unit, self.context = batch_size, length, unit, context
        self._rows = _rows(tokens, batch_size)
        if start is not None:
            self._rows = torch.cat([self._rows.new_full((batch_size, 1), start), self._rows], dim=1)
        # P // T full chunks: with P = L - 1 the label of the last prediction is the last token of its row. L // T gives
        # the same counts on PTB, but where T divides L its last chunk would ask for a label beyond the end.
        predictions = max(self._rows.shape[1] - 1, 0)
        end = predictions if tail == "keep" else predictions // length * length
        self._cuts = [*range(0, end, length), end]
        if not len(self):
            needed = batch_size * ((length if tail == "drop" else 1) + (start is None))
            raise UserError(
                f"{len(tokens)} tokens are too few for batch_size {batch_size} and text.length {length}: "
                f"at least {needed} tokens are needed"
            )
        self.num_units = batch_size * (len(self) if unit == "sequence" else end)


class VariableStreams(_Chunks):
    """B contiguous streams of one token sequence, cut into chunks of drawn lengths, in each epoch differently.

    The tokens are laid out as in `TextStreams`. A chunk begins where the one before it ends; the last one is clipped to
    what is left, and a single prediction that is left is dropped, as in the DARTS code. The learning rate goes with the
    length that was drawn, also where the last chunk was clipped. The lengths of an epoch are a function of the seed and
    of its number, so a resumed run, or another number of processes, cuts the same chunks.

    Args:
        tokens: int64 [N].
        batch_size: B, the streams of the *global* batch.
        length: the usual length, to which the learning rate belongs.
        seed: of the draws.
        lengths: the rule; `halving_lengths` or `scattered_lengths`.

    Raises:
        UserError: a stream has not even two predictions.

    Example:
        >>> streams = VariableStreams(torch.arange(80), 2, 8, seed=1, lengths=scattered_lengths)
        >>> later = streams.at_epoch(3)
        >>> [later.batch(index, slice(0, 2)).labels.shape[1] for index in range(len(later))]
        [5, 6, 5, 11, 10, 2]
        >>> [later.learning_rate_scale(index) for index in range(len(later))]
        [0.625, 0.75, 0.625, 1.375, 1.25, 1.125]
    """

    def __init__(self, tokens: Tensor, batch_size: int, length: int, seed: int, lengths: Lengths) -> None:
        self.batch_size, self.length, self.seed, self.lengths = batch_size, length, seed, lengths
        self._rows = _rows(tokens, batch_size)
        if self._rows.shape[1] < 3:
            raise UserError(
                f"{len(tokens)} tokens are too few for batch_size {batch_size}: at least {3 * batch_size} are needed"
            )
        self._enter(0)

    def _enter(self, epoch: int) -> None:
        draws, predictions = generator(self.seed, "text/lengths", epoch), self._rows.shape[1] - 1
        self._cuts, self._drawn = [0], []
        while predictions - self._cuts[-1] > 1:
            self._drawn.append(self.lengths(self.length, draws))
            self._cuts.append(min(self._cuts[-1] + self._drawn[-1], predictions))
        self.num_units = self.batch_size * len(self)

    def learning_rate_scale(self, index: int) -> float:
        """The length drawn for chunk ``index``, over the usual one."""
        return self._drawn[index] / self.length
