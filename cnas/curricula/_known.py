"""What a curriculum knows beside losses: how far a training is, and what its data looks like.

Legend: W words of the whole data, N units in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cnas.random import HOST


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Args:
        epoch: the current one, from 0.
        epochs: how many there are.
        step: updates of the weights so far.
        batch: batches of the epoch that are over; all of them where it ends.
        batches: of an epoch.
    """

    epoch: int
    epochs: int
    step: int
    batch: int = 0
    batches: int = 1

    @property
    def share(self) -> float:
        """The share of the training that is over, between 0 and 1."""
        return min(1.0, (self.epoch + self.batch / self.batches) / self.epochs)


@dataclass(frozen=True)
class DatasetInfo:
    """What a curriculum may know of the training data before anything is trained; counted when first asked for.

    Args:
        num_units: how many units there are (N).
        read: gives (labels, unit ids) of all global batches of a pass, each int64 of one shape; None where labels are
            no words.
    """

    num_units: int
    read: Callable[[], Iterable[tuple[Tensor, Tensor]]] | None = None

    @cached_property
    def _words(self) -> tuple[Tensor, Tensor]:
        """(words [W], their units [W]) of the whole data."""
        assert self.read is not None
        pairs = [(labels.reshape(-1).to(HOST), ids.reshape(-1).to(HOST)) for labels, ids in self.read()]
        words, ids = zip(*pairs, strict=True)
        return torch.cat(words), torch.cat(ids)

    @cached_property
    def lengths(self) -> Tensor:
        """Words of every unit, float64 [N]."""
        return torch.bincount(self._words[1], minlength=self.num_units).double()

    @cached_property
    def rarities(self) -> Tensor:
        """Mean of -log p(word) over the words of every unit, float64 [N]; p is the share of a word in the data."""
        words, ids = self._words
        rarity = -(torch.bincount(words).double() / len(words)).log()
        sums = torch.zeros(self.num_units, dtype=torch.float64).index_add_(0, ids, rarity[words])
        return sums / self.lengths.clamp_min(1)
