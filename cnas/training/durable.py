"""Atomic writes of files and folders: staged, synced, renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_BEGUN, _DOOMED = ".begun-", ".doomed-"


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Stage files beside a folder, sync them, and put them in its place; on failure nothing is left over.

    Args:
        target: the folder, which may be there already; ``.old`` is appended to its name until the new one is.
        files: contents by name, in the order in which they are written.
    """
    stage = target.with_name(f"{_BEGUN}{target.name}")
    try:
        stage.mkdir()
        for name, data in files.items():
            write_file(stage / name, data)
        sync_folder(stage)
        if target.exists():
            old = target.with_name(f"{target.name}.old")
            remove_folder(old)
            target.rename(old)
        stage.rename(target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def write_file(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def make_folder(root: Path) -> None:
    """Create a folder and its parents, and make their names durable."""
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; syncing a file does not do that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_folder(path: Path) -> None:
    """Remove a folder, where it is there; renamed first, so that a kill half-way leaves no broken one."""
    if path.exists():
        doomed = path.rename(path.with_name(f"{_DOOMED}{path.name}"))
        shutil.rmtree(doomed, ignore_errors=True)


def clear_leftovers(root: Path) -> None:
    """Remove what a kill amid a `write_folder` or a `remove_folder` below ``root`` left; none of it ever counted."""
    for path in root.iterdir():
        if path.name.startswith((_BEGUN, _DOOMED)):
            shutil.rmtree(path, ignore_errors=True)
