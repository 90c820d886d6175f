"""The checkpoints of one training phase, which the main process writes and every process reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cnas.errors import StorageError
from cnas.training import checkpoint
from cnas.training.context import RunContext
from cnas.training.distributed import check_equal


class PhaseCheckpoints:
    """Saves and loads the states of one loop.

    Args:
        context: of the run.
        phase: names the folder below ``checkpoints/``.
        keep: so many are kept, the newest ones.
    """

    def __init__(self, context: RunContext, phase: str, keep: int = 2) -> None:
        self.context, self.phase, self.keep = context, phase, keep
        self.root: Path = context.folder / "checkpoints" / phase
        self._newest: int | None = None

    @property
    def kept(self) -> str:
        """Which checkpoint there is, for messages."""
        return "no checkpoint yet" if self._newest is None else f"the checkpoint of step {self._newest} is kept"

    def write(self, state: dict[str, Any]) -> None:
        """Write a checkpoint from the main process; every process learns whether it worked.

        Raises:
            StorageError: the disk refused; older checkpoints are untouched.
        """
        problem, step, context = None, state["position"]["step"], self.context
        if context.check_ranks:
            # Before, so that the checkpoint that is kept is of a time when all were equal.
            self.compare(state, step)
        if context.accelerator.is_main_process:
            info = {"processes": context.processes.world}
            pinned = state["trouble"]["starts"]
            try:
                of_run = {"config_hash": context.config_hash, "pinned": pinned, "info": info}
                checkpoint.save(self.root, step, state, **of_run, keep=self.keep)
            except StorageError as error:
                problem = error
        (failed,) = context.processes.sum_numbers(float(problem is not None))
        if failed:
            raise problem or StorageError("the main process could not write a checkpoint")
        self._newest = step

    def compare(self, state: dict[str, Any], step: int) -> None:
        """Raise a `ProcessGroupError` where the processes of the run hold different states at ``step``."""
        check_equal(self.context.processes, state, f"step {step} of the {self.phase} ({self.kept})")

    def load(self, step: int) -> dict[str, Any]:
        """The state that was saved under ``step``."""
        return checkpoint.load(self.root, step, config_hash=self.context.config_hash)

    def load_newest(self) -> dict[str, Any] | None:
        """The newest whole state, with a warning for what is not as it was; None where there is none yet.

        Raises:
            CheckpointError: there are checkpoints and none is whole.
            UserError: the newest one belongs to another configuration.
        """
        loaded = checkpoint.load_newest(self.root, config_hash=self.context.config_hash)
        if loaded is None:
            return None
        for broken in loaded.broken:
            self.context.log(f"warning: skipped {broken}")
        now = {"threads": torch.get_num_threads(), "processes": self.context.processes.world}
        for name, count in now.items():
            # Checkpoints of earlier versions do not say how many processes there were.
            if (before := loaded.info.get(name, count)) != count:
                self.context.log(
                    f"warning: saved with {before} {name}, now {count}; sums are taken in another order, and the "
                    "result is no longer the uninterrupted one bit for bit"
                )
        self._newest = loaded.step
        return dict(loaded.state)
