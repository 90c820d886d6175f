"""The position of a loop: epoch, batch, step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingProgress:
    """Where a loop is; the next thing to do is batch ``batch`` of epoch ``epoch``, or the epoch's end."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
