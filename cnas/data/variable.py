"""Chunks whose length is drawn anew in every epoch: how DARTS trains its recurrent networks.

For those who reproduce DARTS itself. A chunk of one epoch is no chunk of the next, so no curriculum weight can belong
to it. The two rules are those of ``rnn/train_search.py`` and ``rnn/train.py`` in the code of Liu et al. (2019), where
the length is 35.

Legend: N tokens, B streams, L tokens of a stream, P = L - 1 predictions of a stream, T tokens of a chunk.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

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


class VariableStreams(OrderedBatches):
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
        stream = len(tokens) // batch_size
        if stream < 3:
            raise UserError(
                f"{len(tokens)} tokens are too few for batch_size {batch_size}: at least {3 * batch_size} are needed"
            )
        self._rows = tokens[: stream * batch_size].view(batch_size, stream)
        self._cut(0)

    def _cut(self, epoch: int) -> None:
        draws, predictions = generator(self.seed, "text/lengths", epoch), self._rows.shape[1] - 1
        starts, drawn = [0], []
        while predictions - starts[-1] > 1:
            drawn.append(self.lengths(self.length, draws))
            starts.append(min(starts[-1] + drawn[-1], predictions))
        self._starts, self._drawn = starts, drawn
        self.num_units = self.batch_size * len(drawn)

    def at_epoch(self, epoch: int) -> VariableStreams:
        """The same streams, cut with the lengths of ``epoch``, from 0; as built they are those of epoch 0."""
        other = copy.copy(self)
        other._cut(epoch)
        return other

    def learning_rate_scale(self, index: int) -> float:
        """The length drawn for chunk ``index``, over the usual one."""
        return self._drawn[index] / self.length

    def __len__(self) -> int:
        """How many chunks this epoch has."""
        return len(self._drawn)

    def batch(self, index: int, rows: slice) -> Batch:
        """Chunk ``index`` of the streams ``rows``: inputs, labels and unit ids, int64 [b, T].

        Raises:
            IndexError: there is no such chunk in this epoch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"chunk {index} of {len(self)}")
        begin, end = self._starts[index : index + 2]
        rows_bL = self._rows[rows]
        inputs_bT = rows_bL[:, begin:end].contiguous()
        labels_bT = rows_bL[:, begin + 1 : end + 1].contiguous()
        streams_B1 = torch.arange(self.batch_size, device=self._rows.device)[:, None]
        unit_ids_BT = (index * self.batch_size + streams_B1).expand(-1, end - begin)
        return Batch(inputs_bT, labels_bT, unit_ids_BT[rows])
