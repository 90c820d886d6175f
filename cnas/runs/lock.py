"""File lock: one process per run folder; the system releases it when the process ends.

`filelock` locks the open file ``.lock``. Where a file system locks no files, that the file exists is the lock: a dead
process of this machine is recognised then too, one of another machine is not, and somebody has to delete the file.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cnas.errors import StorageError, UserError

NAME = ".lock"
"""The lock of a run, in its folder."""
NOTE = f"{NAME}.holder"
"""Who has the lock, in words."""
PATIENCE = 0.2
"""Seconds to wait for a lock: whoever asks about one has it for a moment."""
LONGEST = 200
"""Characters of a note that are read."""


def holder(folder: Path) -> str | None:
    """Which process works in a folder: number, host, since when; None where none does.

    Args:
        folder: of a run.
    """
    if not (folder / NAME).exists():
        return None
    try:
        with FileLock(folder / NAME, timeout=0):
            return None
    except OSError:  # it is locked, which is a `Timeout`, or cannot be looked at
        return _note(folder) or "another process"


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock a folder while the context lasts; a process that has the lock already keeps it.

    Args:
        folder: of a run; made where there is none.

    Raises:
        UserError: another process has it.
        StorageError: it cannot be written.
    """
    file = FileLock(folder / NAME, timeout=PATIENCE, is_singleton=True)
    if file.is_locked:
        yield
        return
    try:
        _acquire(file, folder)
        yield
    finally:
        if file.is_locked:
            # While it is locked: afterwards these may be the files of the next run.
            with suppress(OSError):
                (folder / NOTE).unlink()
                (folder / NAME).unlink()
            file.release()


def _acquire(file: FileLock, folder: Path) -> None:
    try:
        file.acquire()
        if (dead := _note(folder)) is not None:
            print(f"stale lock removed: {dead} is no more", flush=True)
            (folder / NOTE).unlink()
        with (folder / NOTE).open("x", encoding="utf-8") as note:
            note.write(f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')}")
    except Timeout as problem:
        who = holder(folder) or "another process"
        raise UserError(
            f"run {folder} is running already, by {who}; if that is no more, delete {folder / NAME}"
        ) from problem
    except OSError as problem:
        raise StorageError(f"cannot write {folder / NAME}: {problem.strerror}") from problem


def _note(folder: Path) -> str | None:
    try:
        with (folder / NOTE).open(encoding="utf-8", errors="replace") as note:
            return note.read(LONGEST)
    except OSError:
        return None
