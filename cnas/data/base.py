"""Batches in a fixed order, each fetched by its number: the interface of all data to the trainer.

A data set holds no position. That of a run is one integer, kept by the trainer, so a resumed run fetches the same
batches, and a scoring pass in between disturbs nothing.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Self

import torch

from cnas.types import Batch


def process_rows(total: int, rank: int, world: int) -> slice:
    """The rows of a global batch that one process works on.

    Blocks are contiguous, differ by at most one row, and together are every row once. With fewer rows than processes
    some blocks are empty.

    Args:
        total: rows of the global batch.
        rank: this process, from 0.
        world: how many processes there are.

    Example:
        >>> [process_rows(5, rank, 2) for rank in range(2)]
        [slice(0, 2, None), slice(2, 5, None)]
    """
    return slice(total * rank // world, total * (rank + 1) // world)


class OrderedBatches(ABC):
    """Batches in a fixed order, each fetched by its index and the rows one process wants of it.

    Attributes:
        batch_size: rows of the *global* batch, whatever the number of processes; a batch of its own size says so in
            `rows`.
        num_units: how many curriculum units there are; every ``unit_ids`` is in ``range(num_units)``.
    """

    batch_size: int
    num_units: int

    @abstractmethod
    def __len__(self) -> int:
        """How many batches one pass has."""

    def at_epoch(self, epoch: int) -> Self:
        """The batches of one epoch, from 0; as built they are those of epoch 0."""
        other = copy.copy(self)
        other._enter(epoch)
        return other

    def _enter(self, epoch: int) -> None:  # noqa: B027
        """Cut or order the data as in ``epoch``; the same in every one unless a subclass does something here."""

    def to(self, device: torch.device) -> OrderedBatches:  # noqa: ARG002
        """Batches with the same content that are made on ``device`` where that is faster; these, unless overridden."""
        return self

    def learning_rate_scale(self, index: int) -> float:  # noqa: ARG002
        """What the learning rate is multiplied by for batch ``index``."""
        return 1.0

    def rows(self, index: int) -> int:  # noqa: ARG002
        """How many rows the global batch ``index`` has: ``batch_size`` unless a subclass has an uneven one."""
        return self.batch_size

    def scoring_view(self) -> OrderedBatches:
        """The pass over the data in which candidates are scored under ``refresh="epoch"``; the same batches by default.

        It has every unit, each under the id it has here.
        """
        return self

    def scoring_batch(self, index: int, rows: slice, batch: Batch) -> Batch:  # noqa: ARG002
        """The batch on which candidates are scored under ``refresh="step"``: the rows and units of `batch`.

        Args:
            index: of the global batch.
            rows: which of its rows.
            batch: these rows as they are trained on; the answer unless a subclass differs.
        """
        return batch

    @abstractmethod
    def batch(self, index: int, rows: slice) -> Batch:
        """Rows ``rows`` of global batch ``index``, without hidden state or dropout seeds.

        Raises:
            IndexError: ``index`` is not in ``range(len(self))``.
        """
