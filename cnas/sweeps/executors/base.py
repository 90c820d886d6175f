"""What a sweep asks of whatever runs its processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, Protocol


class Work(Protocol):
    """One process, running, waiting for its turn or at its end."""

    def code(self) -> int | None:
        """The exit code, that of a signal negative; None while it has not ended. Does not wait."""
        ...

    def stop(self) -> None:
        """Ask it to save and to end; it is asked once, and `code` says when it has."""
        ...


class Executor(Protocol):
    """Starts processes, here or elsewhere."""

    def start(self, command: Sequence[str], log: Path) -> Work:
        """Start a process, or put it in line.

        Args:
            command: its words. Its standard input must stay open for as long as anybody waits for it.
            log: the file its output is added to.
        """
        ...


class Settings(Protocol):
    """A frozen dataclass of what the grid file may say about an executor, each field with a default."""

    AT_ONCE: ClassVar[int | None]
    """How many runs are handed over at the same time if nobody says; None is all of them."""

    def open(self, home: Path, at_once: int) -> AbstractContextManager[Executor]:
        """The executor, for as long as the context lasts.

        Args:
            home: the folder of the run folders, for what the executor itself has to write.
            at_once: how many runs are handed over at the same time.

        Raises:
            UserError: it cannot be had, e.g. as its package is not installed.
        """
        ...
