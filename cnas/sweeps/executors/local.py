"""Processes of this machine, a few at a time; where it has accelerators, all of them share the first one."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from cnas.errors import UserError
from cnas.runs.result import RunResult
from cnas.sweeps.executors import Start

FREE = "import torch; print(torch.accelerator.get_memory_info()[0] / 1e9)"
"""Prints what is free."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the executor ``local``."""

    AT_ONCE: ClassVar[int | None] = 1
    threads: int | None = None
    """Of each run; where it is none, ``OMP_NUM_THREADS``, or an equal share of the cores."""
    memory_gb: float | None = None
    """Of the accelerator, that a run needs; where it is none, the most that a finished run of the sweep has held."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UserError(f"local.threads must be at least 1, got {self.threads}")
        if self.memory_gb is not None and self.memory_gb <= 0:
            raise UserError(f"local.memory_gb must be above 0, got {self.memory_gb}")

    def environment(self, at_once: int) -> dict[str, str]:
        """Of each process, where so many run at the same time."""
        share = max(1, (os.cpu_count() or 1) // at_once)
        threads = self.threads or os.environ.get("OMP_NUM_THREADS") or share
        # By itself every process would start one compiler for each core.
        return {"TORCHINDUCTOR_COMPILE_THREADS": str(share), **os.environ, "OMP_NUM_THREADS": str(threads)}

    def check_memory(self, home: Path, count: int) -> None:
        """Refuse several runs at a time that need more memory of the accelerator than is free, as far as that is known.

        Args:
            home: the folder of the run folders.
            count: how many runs there are at the same time.

        Raises:
            UserError: they need more.
        """
        if count < 2 or not (need := self.memory_gb or largest_peak(home)):
            return
        if count * need > (free := free_gb()):
            raise UserError(
                f"--jobs must be at most {max(1, int(free / need))}: {count} runs at a time need {count} x {need:.1f} "
                f"GB of the accelerator, and {free:.1f} GB are free (local.memory_gb says what a run needs)"
            )

    @contextmanager
    def open(self, home: Path, at_once: int, waiting: int) -> Iterator[Start]:
        """See `cnas.sweeps.executors.Settings`."""
        self.check_memory(home, min(at_once, waiting))
        environment = self.environment(at_once)

        def start(command: Sequence[str], log: Path) -> Process:
            with log.open("ab") as output:
                pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": output, "stderr": subprocess.STDOUT}
                # Ctrl-C goes to all processes of a session; these wait for what the sweep says.
                return Process(command, **pipes, env=environment, start_new_session=True)

        yield start


def largest_peak(home: Path) -> float:
    """The most GB of an accelerator that a finished run in a folder of runs has held; 0 where none says so."""
    results = (RunResult.load_if_finished(file.parent) for file in home.glob("*/result.json"))
    return max((result.peak_memory_gb or 0.0 for result in results if result is not None), default=0.0)


def free_gb() -> float:
    """What is free of the accelerator's memory; infinite where there is none, or it does not say."""
    if not torch.accelerator.is_available():
        return math.inf
    # In a process of its own: whoever asks holds some of the memory from then on.
    asked = subprocess.run([sys.executable, "-c", FREE], capture_output=True, text=True, check=False)
    return math.inf if asked.returncode else float(asked.stdout)


class Process(subprocess.Popen[bytes]):
    """A process of this machine; its standard input closes when the process that started it ends in whatever way."""

    def code(self) -> int | None:
        """See `cnas.sweeps.executors.Work.code`."""
        code = self.poll()
        if code is not None and self.stdin is not None:
            self.stdin.close()
        return code

    def stop(self) -> None:
        """See `cnas.sweeps.executors.Work.stop`."""
        self.terminate()
