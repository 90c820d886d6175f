"""One run folder, one process: a lock file that says who is at work, and by which a dead process is recognised.

Only creating a file exclusively is asked of the file system, so it serves on network drives as well. A lock of this
machine is stale when its process is gone; whether a process of another machine lives cannot be known, and its lock
holds.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from cnas.errors import StorageError, UserError

NAME = ".lock"
"""The lock of a run, in its folder."""
SAME = 1.0
"""Seconds by which two readings of the moment a process started may differ."""


@dataclass(frozen=True)
class Holder:
    """Who is at work in a folder.

    Args:
        host: name of the machine; empty where the lock cannot be read.
        pid: of the process.
        started: when the process did, in seconds since 1970; another process of the same number started later.
    """

    host: str
    pid: int
    started: float

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        return cls(socket.gethostname(), os.getpid(), psutil.Process().create_time())

    @property
    def gone(self) -> bool:
        """Whether the process was one of this machine and is no more."""
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.pid)
            dead = process.status() == psutil.STATUS_ZOMBIE
            return dead or abs(process.create_time() - self.started) > SAME
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False

    def __str__(self) -> str:
        if not self.host:
            return "a process that has not said its name"
        return f"process {self.pid} on {self.host} since {time.strftime('%F %T', time.localtime(self.started))}"


def holder(folder: Path) -> Holder | None:
    """Who has the lock of a folder; None where nobody has.

    Args:
        folder: of a run.
    """
    try:
        found = json.loads((folder / NAME).read_text("utf-8"))
        return Holder(str(found["host"]), int(found["pid"]), float(found["started"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Holder("", 0, 0.0)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Have the lock of a folder while the context lasts.

    Args:
        folder: of a run.

    Raises:
        UserError: somebody else has it.
        StorageError: it cannot be written.
    """
    lock = folder / NAME
    if (found := holder(folder)) is not None and found.gone:
        _clear(folder, found)
    if not _create(lock, json.dumps(asdict(Holder.here()))):
        raise UserError(
            f"run {folder} is in work already, by {holder(folder) or 'another process'}; if that is no more, "
            f"delete {lock}"
        )
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()


def _clear(folder: Path, stale: Holder) -> None:
    """Remove the lock of a dead process; the guard keeps two from doing so, or the second removes the first one's."""
    guard = folder / f"{NAME}.guard"
    if not _create(guard, ""):
        raise UserError(f"run {folder}: another process is clearing its stale lock; if it is no more, delete {guard}")
    try:
        if holder(folder) == stale:
            (folder / NAME).unlink()
            print(f"stale lock removed: {stale} is no more", flush=True)
    finally:
        guard.unlink()


def _create(file: Path, text: str) -> bool:
    """Whether the file could be made, by this process alone."""
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        return False
    except OSError as problem:
        raise StorageError(f"cannot write {file}: {problem.strerror}") from problem
    return True
