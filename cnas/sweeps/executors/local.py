"""Processes of this machine, a few at a time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cnas.errors import UserError
from cnas.sweeps.executors import Start


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the executor ``local``."""

    AT_ONCE: ClassVar[int | None] = 1
    threads: int | None = None
    """Of each run; where it is none, ``OMP_NUM_THREADS``, or an equal share of the cores."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UserError(f"local.threads must be at least 1, got {self.threads}")

    def environment(self, at_once: int) -> dict[str, str]:
        """Of each process, where so many run at the same time."""
        threads = self.threads or os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // at_once)
        return {**os.environ, "OMP_NUM_THREADS": str(threads)}

    @contextmanager
    def open(self, home: Path, at_once: int) -> Iterator[Start]:  # noqa: ARG002
        """See `cnas.sweeps.executors.Settings`."""
        environment = self.environment(at_once)

        def start(command: Sequence[str], log: Path) -> Process:
            with log.open("ab") as output:
                pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": output, "stderr": subprocess.STDOUT}
                # Ctrl-C goes to all processes of a session; these wait for what the sweep says.
                return Process(command, **pipes, env=environment, start_new_session=True)

        yield start


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
