"""Atomic writes of files and folders: staged, synced, renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from cnas.errors import StorageError

_BEGUN, _DOOMED = ".begun-", ".doomed-"


@contextlib.contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn an `OSError` of the block into a `StorageError` that says what cannot be written, and why."""
    try:
        yield
    except OSError as problem:
        raise StorageError(f"cannot write {what}: {problem.strerror or problem}") from problem


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; its folder must be there.

    Raises:
        StorageError: the disk refuses; what was there before is untouched.
    """
    stage = path.with_name(f".{path.name}.tmp")
    with storage_errors(str(path)):
        try:
            write_file(stage, data)
            stage.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                stage.unlink()
            raise


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Stage files beside a folder, sync them, and put them in its place; on failure nothing is left over.

    Args:
        target: the folder, which may be there already; ``.old`` is appended to its name until the new one is.
        files: contents by name, in the order in which they are written.
    """
    old = target.with_name(f"{target.name}.old")
    with staged(target, target.with_name(f"{_BEGUN}{target.name}"), old) as stage:
        for name, data in files.items():
            write_file(stage / name, data)
        if target.exists():  # otherwise the old one may be all there is
            remove_folder(old)


@contextlib.contextmanager
def staged(target: Path, stage: Path, old: Path) -> Iterator[Path]:
    """A new folder that takes the place of ``target`` when the block ends well; on failure all is as it was.

    Args:
        target: the folder, which may be there already.
        stage: where the new one is made, on the same disk.
        old: what ``target`` is renamed to, for the caller to remove; a folder with files cannot be renamed over.
    """
    try:
        stage.mkdir()
        yield stage
        sync(stage)
        if target.exists():
            target.rename(old)
        stage.rename(target)
        sync(target.parent)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        with contextlib.suppress(OSError):
            if not target.exists():
                old.rename(target)
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
        sync(folder.parent)


def sync(path: Path) -> None:
    """Make a file durable, or the names in a folder; syncing a file does not do that."""
    handle = os.open(path, os.O_RDONLY)
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
