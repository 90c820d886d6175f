"""Processes of this machine, a few at a time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cnas.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the executor ``local``."""

    AT_ONCE: ClassVar[int | None] = 1
    threads: int | None = None
    """Of each run; where it is none, ``OMP_NUM_THREADS``, or an equal share of the cores."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UserError(f"local.threads must be at least 1, got {self.threads}")

    @contextmanager
    def open(self, home: Path, at_once: int) -> Iterator[Local]:  # noqa: ARG002
        """The executor; see `cnas.sweeps.executors.base.Settings`."""
        environment = dict(os.environ)
        if self.threads is not None or "OMP_NUM_THREADS" not in environment:
            environment["OMP_NUM_THREADS"] = str(self.threads or max(1, (os.cpu_count() or 1) // at_once))
        yield Local(environment)


class Local:
    """Starts processes at once.

    Args:
        environment: of each of them.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    def start(self, command: Sequence[str], log: Path) -> Process:
        """See `cnas.sweeps.executors.base.Executor.start`."""
        with log.open("ab") as output:
            # Ctrl-C goes to all processes of a session; these wait for what the sweep says.
            return Process(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self.environment,
                    start_new_session=True,
                )
            )


class Process:
    """A process of this machine.

    Args:
        process: it, with a pipe for its standard input, which closes when this process ends in whatever way.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def code(self) -> int | None:
        """See `cnas.sweeps.executors.base.Work.code`."""
        code = self.process.poll()
        if code is not None and self.process.stdin is not None:
            self.process.stdin.close()
        return code

    def stop(self) -> None:
        """See `cnas.sweeps.executors.base.Work.stop`."""
        self.process.terminate()
