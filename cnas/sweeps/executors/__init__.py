"""What runs the processes of a sweep, found by place: a module here is the executor of its name.

It has ``Settings``, see below. A new executor is a new file here; nothing else is edited.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Protocol

from cnas.errors import UserError
from cnas.fields import from_dict, to_dict


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

    def open(self, home: Path, at_once: int, waiting: int) -> AbstractContextManager[Start]:
        """What starts processes, for as long as the context lasts.

        Args:
            home: the folder of the run folders, for what the executor itself has to write.
            at_once: how many runs are handed over at the same time, at most.
            waiting: how many there are to do.

        Raises:
            UserError: it cannot be had, e.g. as its package is not installed, or not for so many at once.
        """
        ...


def names() -> list[str]:
    """The names of all executors, sorted.

    Example:
        >>> names()
        ['local', 'ray', 'slurm']
    """
    found = [module.name for module in pkgutil.iter_modules(__path__)]
    return sorted(name for name in found if name[0] != "_")


def settings(name: str, given: Mapping[str, Any] | None = None) -> Settings:
    """The settings of an executor: its defaults, and over them what is given.

    Args:
        name: of the executor.
        given: fields by name.

    Raises:
        UserError: there is no such executor or field, or a value is not allowed; what there is, is named.

    Example:
        >>> settings("local", {"threads": 2}).threads
        2
    """
    if name not in names():
        raise UserError(f"executor must be one of {', '.join(names())}, got {name[:40]!r}")
    kind: Any = importlib.import_module(f"{__name__}.{name}").Settings
    if not isinstance(given, Mapping | None):
        raise UserError(f"{name} must be a mapping of settings, got {str(given)[:40]!r}")
    found: Settings = from_dict(kind, to_dict(kind()) | dict(given or {}), name)
    return found
