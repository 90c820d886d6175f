"""What every training loop is told: how long, how much at once, and the optimiser of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from cnas.errors import UserError


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """What every training loop needs.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """

    least_epochs: ClassVar[int] = 1

    epochs: int = 1
    """Passes over the training data."""
    batch_size: int = 64
    """Rows of the global batch, whatever the number of processes."""
    accumulation_steps: int = 1
    """Parts a process cuts its share of a batch into, to save memory; the update is the same. 1 where a network
    normalises over whole batches."""
    learning_rate: float = 20.0
    """Of SGD on the weights, in the first epoch."""
    schedule: Literal["constant", "cosine"] = "constant"
    """How the learning rate goes on from epoch to epoch; within an epoch it stays."""
    final_learning_rate: float = 0.0
    """Where the cosine would arrive after the last epoch."""
    momentum: float = 0.0
    """Of SGD on the weights."""
    nesterov: bool = False
    """Whether the momentum is Nesterov's."""
    weight_decay: float = 0.0
    """L2 penalty on the weights that a step uses; its gradient is added after clipping."""
    clip_norm: float | None = 0.25
    """Largest norm of the gradient; longer ones are scaled down to it. None leaves it as it is."""
    checkpoint_steps: int | None = None
    """Also save every so many steps; none saves at the end of every epoch only."""
    bad_steps_in_a_row: int = 5
    """So many steps in a row with a loss or a gradient that is not finite, or a loss 5 nats above that of guessing, and
    training goes back to the start of the epoch with half the learning rate."""

    def __post_init__(self) -> None:
        lowest = {"epochs": self.least_epochs, "batch_size": 1, "accumulation_steps": 1, "bad_steps_in_a_row": 1}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise UserError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"learning_rate must be above 0 and finite, got {self.learning_rate}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise UserError(f"clip_norm must be above 0 and finite, or none, got {self.clip_norm}")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"weight_decay must be at least 0 and finite, got {self.weight_decay}")
        if not 0 <= self.final_learning_rate <= self.learning_rate:
            allowed = f"between 0 and learning_rate {self.learning_rate}"
            raise UserError(f"final_learning_rate must be {allowed}, got {self.final_learning_rate}")
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum must be at least 0 and below 1, got {self.momentum}")
        if self.nesterov and not self.momentum:
            raise UserError("nesterov needs a momentum above 0, got momentum 0")
        if self.checkpoint_steps is not None and self.checkpoint_steps < 1:
            raise UserError(f"checkpoint_steps must be at least 1 or none, got {self.checkpoint_steps}")

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, from 0.

        Example:
            >>> config = LoopConfig(epochs=2, learning_rate=0.3, schedule="cosine", final_learning_rate=0.1)
            >>> [round(config.rate(epoch), 3) for epoch in range(3)]
            [0.3, 0.2, 0.1]
        """
        if self.schedule == "constant":
            return self.learning_rate
        way = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * way

    def check_whole_batches(self, prefix: str) -> None:
        """Raise a `UserError` where a network that normalises over whole batches would get parts of them."""
        if self.accumulation_steps > 1:
            raise UserError(
                f"{prefix}accumulation_steps must be 1 where the network normalises over whole batches, "
                f"got {self.accumulation_steps}"
            )

    def check_processes(self, world: int, prefix: str = "") -> None:
        """Raise a `UserError`, the field after ``prefix``, where a part of one of ``world`` processes has no row."""
        if self.batch_size // world < self.accumulation_steps:
            raise UserError(
                f"{prefix}batch_size must be at least processes x accumulation_steps = {world} x "
                f"{self.accumulation_steps}, got {self.batch_size}"
            )
