"""What the loops of a run share, and all that trains or scores for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from cnas.training.stop import StopSignal


@dataclass(frozen=True)
class RunContext:
    """What the loops of one run share.

    Args:
        accelerator: devices, processes, precision, trackers.
        folder: the run folder; checkpoints go to ``checkpoints/`` in it, rows to ``metrics.jsonl``.
        seed: of every draw.
        config_hash: stamped into checkpoints; another one is refused on resume.
        stop: set by signals.
        check_ranks: how often the processes are compared, see `cnas.training.ProcessOptions`.
    """

    accelerator: Accelerator
    folder: Path
    seed: int
    config_hash: str
    stop: StopSignal
    check_ranks: int | None = None

    def say(self, text: str) -> None:
        """Print one line, once."""
        if self.accelerator.is_main_process:
            print(text, flush=True)
