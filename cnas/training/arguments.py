"""The arguments of the training loops: how long, how much at once, and the optimiser of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from cnas.errors import UserError


def require(config: object, *rules: tuple[str, bool, str]) -> None:
    """Raise a `UserError` for the first rule of ``config`` that fails: (field, whether it holds, what is allowed)."""
    for name, holds, allowed in rules:
        if not holds:
            raise UserError(f"{name} must be {allowed}, got {getattr(config, name)}")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Arguments of every training loop.

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
        least = {"epochs": self.least_epochs, "batch_size": 1, "accumulation_steps": 1, "bad_steps_in_a_row": 1}
        clip, every, rate = self.clip_norm, self.checkpoint_steps, self.learning_rate
        require(
            self,
            *((name, getattr(self, name) >= lowest, f"at least {lowest}") for name, lowest in least.items()),
            ("learning_rate", 0 < rate < math.inf, "above 0 and finite"),
            ("clip_norm", clip is None or 0 < clip < math.inf, "above 0 and finite, or none"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "at least 0 and finite"),
            ("final_learning_rate", 0 <= self.final_learning_rate <= rate, f"between 0 and learning_rate {rate}"),
            ("momentum", 0 <= self.momentum < 1, "at least 0 and below 1"),
            ("checkpoint_steps", every is None or every >= 1, "at least 1 or none"),
        )
        if self.nesterov and not self.momentum:
            raise UserError("nesterov needs a momentum above 0, got momentum 0")

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

    def check_whole_batches(self, prefix: str, what: str = "network") -> None:
        """Refuse sizes at which a network that normalises over whole batches would get parts, or single rows.

        Args:
            prefix: of the field's name in the message.
            what: normalises, in the message.

        Raises:
            UserError: a size is one of these.
        """
        if self.accumulation_steps > 1:
            raise UserError(
                f"{prefix}accumulation_steps must be 1 where the network normalises over whole batches, "
                f"got {self.accumulation_steps}"
            )
        for name in (field.name for field in fields(self) if field.name.endswith("batch_size")):
            if getattr(self, name) < 2:
                raise UserError(f"{prefix}{name} must be at least 2 where the {what} normalises batches, got 1")

    def check_processes(self, world: int, prefix: str = "") -> None:
        """Raise a `UserError`, the field after ``prefix``, where a part of one of ``world`` processes has no row."""
        if self.batch_size // world < self.accumulation_steps:
            raise UserError(
                f"{prefix}batch_size must be at least processes x accumulation_steps = {world} x "
                f"{self.accumulation_steps}, got {self.batch_size}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainerConfig(LoopConfig):
    """Arguments of the search; defaults are those of google-research ``enas_lm``."""

    epochs: int = 600
    batch_size: int = 128
    valid_batch_size: int = 128
    """Rows of a validation batch: the algorithm's reward and derivation."""
    learning_rate: float = 20.0
    weight_decay: float = 8e-7
    clip_norm: float | None = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, ("valid_batch_size", self.valid_batch_size >= 1, "at least 1"))


@dataclass(frozen=True, kw_only=True)
class RetrainConfig(LoopConfig):
    """Arguments of training the derived network; defaults are those of google-research ``enas_lm`` (``fixed.py``)."""

    least_epochs: ClassVar[int] = 0

    epochs: int = 3000
    """Passes over the training data; 0 leaves the network untrained."""
    batch_size: int = 64
    learning_rate: float = 20.0
    weight_decay: float = 1.6e-6
    """L2 penalty on the weights; ``fixed.py`` adds 8e-7·Σw², whose gradient is twice that, and clips it along."""
    clip_norm: float | None = 0.25
    nonmonotone: int | None = 10
    """Averaging starts when validation is worse than the best before the last so many epochs; none never starts it."""
    average_from: int | None = None
    """Start averaging at this epoch (from 1) at the latest; none leaves it to the rule."""

    def __post_init__(self) -> None:
        super().__post_init__()
        patience, first = self.nonmonotone, self.average_from
        require(
            self,
            ("nonmonotone", patience is None or patience >= 1, "at least 1 or none"),
            ("average_from", first is None or first >= 2, "at least 2 or none"),
        )
