"""The position of a loop (epoch, batch, step), and its rows in ``metrics.jsonl``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cnas.training.context import RunContext
from cnas.training.metrics_log import MetricsLog, read


@dataclass(frozen=True)
class TrainingProgress:
    """Where a loop is; the next thing to do is batch ``batch`` of epoch ``epoch``, or the epoch's end."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0


class EpochLog:
    """The rows of one loop in ``metrics.jsonl``; only the main process has the file.

    Args:
        context: of the run.
        phase: the loop's, which every row names.

    Attributes:
        file: ``metrics.jsonl``; None where another process writes it.
    """

    def __init__(self, context: RunContext, phase: str) -> None:
        self.phase = phase
        self.file = MetricsLog(context.folder / "metrics.jsonl") if context.accelerator.is_main_process else None

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return 0 if self.file is None else self.file.rows

    def append(self, row: dict[str, Any]) -> None:
        """Write the row of an epoch."""
        if self.file is not None:
            self.file.append(row)

    def truncate(self, rows: int) -> None:
        """Cut the file back to what a checkpoint counted."""
        if self.file is not None:
            self.file.truncate(rows)

    def forget(self) -> None:
        """Drop the rows of a phase that was killed before its first checkpoint."""
        if self.file is not None:
            phases = [row.get("phase") for row in read(self.file.path)]
            self.file.truncate(phases.index(self.phase) if self.phase in phases else len(phases))
