"""The position of a loop (epoch, batch, step), and its logging."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from cnas.metrics import perplexity
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
    """Writes what a loop reports; only the main process has a file.

    Args:
        context: of the run.
        phase: the loop's, which every row and tracked number names.
        epochs: how many there will be.

    Attributes:
        file: ``metrics.jsonl``; None where another process writes it.
    """

    def __init__(self, context: RunContext, phase: str, epochs: int) -> None:
        self.context, self.phase, self.epochs = context, phase, epochs
        self.file = MetricsLog(context.folder / "metrics.jsonl") if context.accelerator.is_main_process else None

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return 0 if self.file is None else self.file.rows

    def record(self, row: dict[str, Any], step: int) -> None:
        """Report one epoch."""
        if self.file is not None:
            self.file.append(row)
        known = {key: value for key, value in row.items() if isinstance(value, int | float) and math.isfinite(value)}
        self.context.accelerator.log({f"{self.phase}/{key}": value for key, value in known.items()}, step=step)
        self.context.log(describe(row, self.epochs))

    def truncate(self, rows: int) -> None:
        """Cut the file back to what a checkpoint counted."""
        if self.file is not None:
            self.file.truncate(rows)

    def forget(self) -> None:
        """Drop the rows of a phase that was killed before its first checkpoint."""
        if self.file is not None:
            phases = [row.get("phase") for row in read(self.file.path)]
            self.file.truncate(phases.index(self.phase) if self.phase in phases else len(phases))

    def bar(self, epoch: int, done: int, total: int) -> Any:
        """A progress bar over the batches of an epoch, where somebody sees it."""
        quiet = not (self.context.accelerator.is_main_process and sys.stderr.isatty())
        title = f"{self.phase} {epoch + 1}/{self.epochs}"
        return tqdm(total=total, initial=done, desc=title, disable=quiet, leave=False)


def describe(row: dict[str, Any], epochs: int) -> str:
    """One line of progress for a person.

    Example:
        >>> describe({"phase": "search", "epoch": 1, "train_loss": 0.0, "valid_perplexity": 2.5}, 3)
        'search 1/3  train perplexity 1.0  valid perplexity 2.5'
    """
    words = [f"{row['phase']} {row['epoch']}/{epochs}"]
    if "valid_accuracy" in row:
        words += [f"train loss {row['train_loss']:.3f}", f"valid accuracy {row['valid_accuracy']:.2f} %"]
    else:
        words.append(f"train perplexity {_readable(perplexity(row['train_loss']))}")
    if "valid_perplexity" in row:
        words.append(f"valid perplexity {_readable(row['valid_perplexity'])}")
    if "weight_min" in row:
        words.append(f"v {row['weight_min']:.2f} to {row['weight_max']:.2f}")
    if "reward" in row:
        words.append(f"reward {row['reward']:.3f}")
    if "epoch_seconds" in row:
        words.append(f"{row['epoch_seconds']:.0f} s")
    return "  ".join(words)


def _readable(perplexity: float) -> str:
    return f"{perplexity:.1f}" if perplexity < 1e6 else "above 1e6"
