"""Learning rates, each a function of the step alone, so that a resumed run takes the same ones.

Where a step is, is counted in batches of its own epoch: with batches of varying length an epoch may have more or fewer
of them, and the curve is the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnas.training.arguments import LoopArguments


def learning_rate(schedule: LoopArguments, epoch: int, batch: int = 0, batches: int = 1) -> float:
    """The learning rate of a step; ``cosine`` and ``linear`` are those of `transformers.get_scheduler`.

    Args:
        schedule: the arguments of the loop.
        epoch: from 0.
        batch: of the epoch, from 0.
        batches: how many the epoch has.

    Example:
        >>> from cnas.training import LoopArguments
        >>> arguments = LoopArguments(num_train_epochs=2, learning_rate=0.4, lr_scheduler_type="linear", warmup_steps=2)
        >>> [round(learning_rate(arguments, epoch, batch, batches=3), 2) for epoch in range(2) for batch in range(3)]
        [0.0, 0.2, 0.4, 0.3, 0.2, 0.1]
    """
    step, warmup, epochs = epoch * batches + batch, schedule.warmup_steps, schedule.num_train_epochs
    warm = step / max(1, warmup) if step < warmup else 1.0
    if schedule.lr_scheduler_type == "cosine_by_epoch":
        return _towards_the_end(schedule, (1 + math.cos(math.pi * epoch / epochs)) / 2) * warm
    if schedule.lr_scheduler_type == "constant" or step < warmup:
        return schedule.learning_rate * warm
    done = (step - warmup) / max(1, epochs * batches - warmup)
    left = 1 - done if schedule.lr_scheduler_type == "linear" else (1 + math.cos(math.pi * done)) / 2
    return _towards_the_end(schedule, max(0.0, left))


def _towards_the_end(schedule: LoopArguments, left: float) -> float:
    """The rate with a share ``left`` of the way to the final one before it."""
    return schedule.final_learning_rate + (schedule.learning_rate - schedule.final_learning_rate) * left
