"""What a sweep asks of whatever runs its processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


Start = Callable[[Sequence[str], Path], Work]
"""Starts a process, here or elsewhere, or puts it in line: from the words of its command and the file that its output
is added to. Its standard input must stay open for as long as anybody waits for it."""


class Settings(Protocol):
    """A frozen dataclass of what the grid file may say about an executor, each field with a default."""

    AT_ONCE: ClassVar[int | None]
    """How many runs are handed over at the same time if nobody says; None is all of them."""

    def open(self, home: Path, at_once: int) -> AbstractContextManager[Start]:
        """What starts processes, for as long as the context lasts.

        Args:
            home: the folder of the run folders, for what the executor itself has to write.
            at_once: how many runs are handed over at the same time.

        Raises:
            UserError: it cannot be had, e.g. as its package is not installed.
        """
        ...
