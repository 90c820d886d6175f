"""A process that dies at the k-th call by which it touches the disk: it cleans up nothing, as by kill -9."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launching import CONTEXT

DIED = 137
TOUCHES = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree", "os.truncate"}
"""What Python announces to its audit hooks before it does it; `os.fsync` is not among it."""


def dies(act: Callable[[Path], Any], root: Path, at: int, *, torn: bool = False) -> bool:
    """Do ``act(root)`` in a process that dies at its ``at``-th touch; whether it came so far.

    Args:
        act: importable by name.
        root: the folder whose touches count.
        at: counted from 1.
        torn: a write leaves half of what it should, where the death comes with it.
    """
    process = CONTEXT.Process(target=_child, args=(act, root, at, torn), daemon=True)
    process.start()
    process.join(600)
    assert process.exitcode in {0, DIED}, process.exitcode
    return process.exitcode == DIED


def deaths(act: Callable[[Path], Any], before: Path, place: Path, *, torn: bool = False) -> list[Path]:
    """Copies of the folder ``before`` in which ``act`` died at its first, second, ... touch, up to the last."""
    found: list[Path] = []
    while True:
        root = place / f"{act.__name__}-{len(found) + 1}{'-torn' * torn}"
        shutil.copytree(before, root)
        if not dies(act, root, len(found) + 1, torn=torn):
            return found
        found.append(root)


def _child(act: Callable[[Path], Any], root: Path, at: int, torn: bool) -> None:
    from cnas import durable

    calls, whole_write, sync, armed = 0, durable.write_file, os.fsync, True

    def touch() -> None:
        nonlocal calls
        calls += armed
        if calls == at and armed:
            os._exit(DIED)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in TOUCHES and (event != "open" or str(args[0]).startswith(str(root))):
            touch()

    def torn_write(path: Path, data: bytes) -> None:
        nonlocal armed
        if calls + 1 == at:
            armed = False
            path.write_bytes(data[: len(data) // 2])
            armed = True
        whole_write(path, data)

    def counted_sync(handle: int) -> None:
        touch()
        sync(handle)

    durable.write_file = torn_write if torn else whole_write
    os.fsync = counted_sync
    sys.addaudithook(hook)
    act(root)
    armed = False
