"""One run folder, one process: a lock file that says who is at work, and by which a dead process is recognised.

Creating a file exclusively is all that is needed, so it serves on network drives as well. A lock of this machine is
stale when its process is gone; whether a process of another machine lives cannot be known, and its lock holds. Where
the file system locks open files too, the holder has that lock as well: it proves that somebody lives, whatever the
clock says of the moment a process started.
"""

from __future__ import annotations

import fcntl
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
    def mine(self) -> bool:
        """Whether it is this process."""
        here = Holder.here()
        return (self.host, self.pid) == (here.host, here.pid) and abs(self.started - here.started) <= SAME

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
    """Have the lock of a folder while the context lasts; a process that has it already goes on with it.

    Args:
        folder: of a run.

    Raises:
        UserError: somebody else has it.
        StorageError: it cannot be written.
    """
    found = holder(folder)
    if found is not None and found.mine:
        yield
        return
    if found is not None and found.gone:
        _clear(folder, found)
    lock = folder / NAME
    handle = _create(lock, json.dumps(asdict(Holder.here())))
    if handle is None:
        raise _taken(folder)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(handle)


def _taken(folder: Path) -> UserError:
    who = holder(folder) or "another process"
    return UserError(f"run {folder} is running already, by {who}; if that is no more, delete {folder / NAME}")


def _clear(folder: Path, stale: Holder) -> None:
    """Remove the lock of a dead process; the guard keeps two from doing so, or the second removes the first one's."""
    guard = folder / f"{NAME}.guard"
    handle = _create(guard, "")
    if handle is None:
        raise UserError(f"run {folder}: another process is clearing its stale lock; if it is no more, delete {guard}")
    try:
        if holder(folder) == stale:
            if _is_locked(folder / NAME):
                raise _taken(folder)
            (folder / NAME).unlink()
            print(f"stale lock removed: {stale} is no more", flush=True)
    finally:
        guard.unlink()
        os.close(handle)


def _create(file: Path, text: str) -> int | None:
    """The open and locked file, made by this process alone; None where it is there already."""
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None
    except OSError as problem:
        raise StorageError(f"cannot write {file}: {problem.strerror}") from problem
    try:
        with suppress(OSError):  # not every file system locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(handle, text.encode())
    except OSError as problem:
        os.close(handle)
        file.unlink()
        raise StorageError(f"cannot write {file}: {problem.strerror}") from problem
    return handle


def _is_locked(file: Path) -> bool:
    """Whether a process, or one that it has forked, still has the file open and locked."""
    with file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False
