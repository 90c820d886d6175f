"""Images of a local folder: Parquet files in the Hub's schema, or one folder for each split and class.

What lies there and is not read is counted, and some of it named, so that nothing is left out in silence.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cnas.data._image_table import Columns, pixels, stacked, table_source
from cnas.data.image_set import ImageSet, ImageSource
from cnas.data.tables import SPLITS, missing, parquet_files, parquet_names, parquet_tables, the_one
from cnas.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
"""Files that are taken for images."""
LARGEST_FILE = 1 << 28
"""Bytes of one; the largest image that is read has a quarter of them when nothing is compressed."""
OTHER = "not named like an image"

NAMED = 3
"""So many are named for each reason; a folder may hold thousands."""
HIDDEN = "hidden"
_LITTER = {"__macosx", "thumbs.db", "desktop.ini"}
"""What other systems leave behind in folders, beside names that begin with a dot."""


class PassedOver:
    """Files and folders that are not read, by reason.

    Args:
        folder: of the data; what is passed over is named from there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, list[str]] = {}

    def add(self, path: Path, reason: str) -> None:
        """Count one, below the folder."""
        # A name need not be text; results are.
        name = os.fsencode(path.relative_to(self._folder)).decode("utf-8", "backslashreplace")
        self._found.setdefault(reason, []).append(name)

    def visible(self, folder: Path) -> list[Path]:
        """What is in a folder, in the order of names, less what is hidden.

        Raises:
            OSError: the folder cannot be read.
        """
        entries, listed = sorted(folder.iterdir()), []
        for path in entries:
            if path.name.startswith(".") or path.name.lower() in _LITTER:
                self.add(path, HIDDEN)
            else:
                listed.append(path)
        return listed

    def record(self) -> dict[str, dict[str, Any]]:
        """How many for each reason, and the first of them: what ``result.json`` says."""
        return {reason: {"entries": len(names), "first": names[:NAMED]} for reason, names in self._found.items()}


def passed_over_line(record: Mapping[str, Mapping[str, Any]]) -> str:
    """The record in words; empty where there is nothing in it.

    Example:
        >>> passed_over_line({"hidden": {"entries": 5, "first": [".a", ".b", ".c"]}})
        'passed over: 5 hidden (.a, .b, .c, …)'
    """
    parts = []
    for reason, found in record.items():
        names = [*found["first"], *(["…"] if found["entries"] > len(found["first"]) else [])]
        parts.append(f"{found['entries']:,} {reason} ({', '.join(names)})")
    return f"passed over: {'; '.join(parts)}" if parts else ""


def read_folder(folder: Path, columns: Columns = (None, None)) -> ImageSource:
    """The images of ``train``, ``test`` and, where there is one, ``validation``; Parquet wins where there is both.

    Args:
        folder: that holds them.
        columns: of Parquet files, see `table_source`.

    Raises:
        UserError: a split is missing or cannot be used.
    """
    over, parquet = PassedOver(folder), parquet_files(folder)
    try:
        if parquet:
            _pass_over_others(folder, {file for files in parquet.values() for file in files}, over)
            tables = parquet_tables(folder, parquet, needed=("train", "test"))
            found = table_source(folder.resolve().name, tables, columns)
        else:
            found = _read_classes(folder, over)
    except OSError as error:
        place = error.filename or str(folder)
        problem = error.strerror or "the disk refused"
        if isinstance(error, FileNotFoundError) and Path(place).is_symlink():
            problem = "it is a link to nothing"
        raise UserError(f"{place} cannot be read: {problem}") from error
    return replace(found, passed_over=over.record())


def _read_classes(folder: Path, over: PassedOver) -> ImageSource:
    there = {split: place for split in SPLITS if (place := _split_folder(folder, split))}
    for split in ("train", "test"):
        if split not in there:
            raise missing(folder, split, (*parquet_names(split), f"{split}/CLASS/"))
    _pass_over_others(folder, set(there.values()), over)
    classes = {split: _classes(place, over) for split, place in there.items()}
    for split, place in there.items():
        _check_classes(place, classes[split], there["train"], classes["train"])
    splits = {split: _read_split(place, classes["train"], over) for split, place in there.items()}
    return ImageSource(folder.resolve().name, splits, classes["train"])


def _split_folder(folder: Path, split: str) -> Path | None:
    found = [name for name in SPLITS[split] if (folder / name).is_dir()]
    name = the_one([f"{name}/" for name in found], split, f"data folder {folder}")
    return folder / name if name else None


def _pass_over_others(folder: Path, read: set[Path], over: PassedOver) -> None:
    for path in over.visible(folder):
        if path not in read:
            over.add(path, "of no split")


def _classes(place: Path, over: PassedOver) -> tuple[str, ...]:
    """The names of the folders in that of a split."""
    found = []
    for path in over.visible(place):
        # A link that leads nowhere may have been a class.
        if not stat.S_ISDIR(path.stat().st_mode):
            over.add(path, "beside the classes")
        elif any("\ud800" <= letter <= "\udfff" for letter in path.name):
            raise UserError(f"{path} must have a name in UTF-8, since it names a class")
        else:
            found.append(path.name)
    return tuple(found)


def _check_classes(place: Path, found: tuple[str, ...], train: Path, classes: tuple[str, ...]) -> None:
    """Raise a `UserError` unless a split has the classes of the training images."""
    if not classes:
        raise UserError(f"{train} has no folders; one for each class is needed, {train.name}/CLASS/")
    for name in sorted({*found} ^ {*classes}):
        has, lacks = (place, train) if name in found else (train, place)
        raise UserError(
            f"{has} has a class {name}, {lacks} has none; the classes of {train.name} are {', '.join(classes)}"
        )


def _read_split(place: Path, classes: tuple[str, ...], over: PassedOver) -> ImageSet:
    """The images of a split, class by class, in the order of their names."""
    files = [(label, file) for label, name in enumerate(classes) for file in _class_files(place / name, over)]
    images = stacked((str(file), pixels(_content(file), str(file))) for _, file in files)
    return ImageSet(images, torch.tensor([label for label, _ in files], dtype=torch.int64))


def _class_files(place: Path, over: PassedOver) -> list[Path]:
    """The images of a class, of which there is at least one."""
    files = list(_named_like_images(place, over))
    if not files:
        names = sorted(path.name for path in place.iterdir())
        found = f"{', '.join(names[:NAMED])}{' and more' if len(names) > NAMED else ''}" or "nothing"
        raise UserError(f"{place} has no image: files must end in {', '.join(SUFFIXES)}, found {found}")
    return files


def _named_like_images(place: Path, over: PassedOver) -> Iterator[Path]:
    """What has the suffix of an image, in a folder and those below it."""
    for path in over.visible(place):
        if path.suffix.lower() in SUFFIXES:
            yield path
        elif not path.is_dir():
            over.add(path, OTHER)
        elif path.is_symlink():
            # Links may lead round in a circle.
            over.add(path, "a link to a folder")
        else:
            yield from _named_like_images(path, over)


def _content(file: Path) -> bytes:
    """The bytes of a file, without waiting for what is none."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or device"
        raise UserError(f"{file} is named like an image and is {kind}")
    if found.st_size > LARGEST_FILE:
        raise UserError(f"{file} has {found.st_size:,} bytes; images have at most {LARGEST_FILE:,}")
    return file.read_bytes()
