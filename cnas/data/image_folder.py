"""Images of a local folder: Parquet files in the Hub's schema, or one folder for each split and class."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from cnas.data._image_source import ImageSource
from cnas.data._image_table import Labelled, image_rows, source
from cnas.data._parquet import has_parquet, missing, parquet_files, read_parquet
from cnas.data._passed_over import NAMED, PassedOver
from cnas.data._pixels import pixels, stacked
from cnas.data._splits import SPLITS, the_one
from cnas.data.image_set import ImageSet
from cnas.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
"""Files that are taken for images."""
LARGEST_FILE = 1 << 28
"""Bytes of one; the largest image that is read has a quarter of them when nothing is compressed."""
OTHER = "not named like an image"


def read_folder(folder: Path) -> ImageSource:
    """The images of ``train``, ``test`` and, where there is one, ``validation``; Parquet wins where there is both.

    Raises:
        UserError: a split is missing or cannot be used.
    """
    over = PassedOver(folder)
    read = _read_parquet if has_parquet(folder) else _read_classes
    try:
        found = read(folder, over)
    except OSError as error:
        place = error.filename or str(folder)
        problem = error.strerror or "the disk refused"
        if isinstance(error, FileNotFoundError) and Path(place).is_symlink():
            problem = "it is a link to nothing"
        raise UserError(f"{place} cannot be read: {problem}") from error
    return replace(found, passed_over=over.record())


def _read_parquet(folder: Path, over: PassedOver) -> ImageSource:
    files = {split: found for split in SPLITS if (found := parquet_files(folder, split))}
    _pass_over_others(folder, {file for found in files.values() for file in found}, over)
    wanted = [split for split in SPLITS if split != "validation" or split in files]
    return source(folder.resolve().name, {split: read_parquet(folder, split, image_rows) for split in wanted})


def _read_classes(folder: Path, over: PassedOver) -> ImageSource:
    there = {split: place for split in SPLITS if (place := _split_folder(folder, split))}
    for split in ("train", "test"):
        if split not in there:
            looked_for = (f"{alias}{end}" for alias in SPLITS[split] for end in (".parquet", "-*.parquet", "/CLASS/"))
            raise missing(folder, split, looked_for)
    _pass_over_others(folder, set(there.values()), over)
    classes = {split: _classes(place, over) for split, place in there.items()}
    for split, place in there.items():
        _check_classes(place, classes[split], there["train"], classes["train"])
    tables = {split: _read_split(there[split], classes["train"], over) for split in there}
    return source(folder.resolve().name, tables)


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
        if stat.S_ISDIR(path.stat().st_mode):
            found.append(_checked_name(path))
        else:
            over.add(path, "beside the classes")
    return tuple(found)


def _checked_name(path: Path) -> str:
    """The name of a class, which is text in all that a run writes."""
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{path} must have a name in UTF-8, since it names a class") from error
    return path.name


def _check_classes(place: Path, found: tuple[str, ...], train: Path, classes: tuple[str, ...]) -> None:
    """Raise a `UserError` unless a split has the classes of the training images."""
    if not classes:
        raise UserError(f"{train} has no folders; one for each class is needed, {train.name}/CLASS/")
    for name in sorted({*found} ^ {*classes}):
        has, lacks = (place, train) if name in found else (train, place)
        raise UserError(
            f"{has} has a class {name}, {lacks} has none; the classes of {train.name} are {', '.join(classes)}"
        )


def _read_split(place: Path, classes: tuple[str, ...], over: PassedOver) -> Labelled:
    """The images of a split, class by class, in the order of their names."""
    files = [(label, file) for label, name in enumerate(classes) for file in _class_files(place / name, over)]
    images = stacked((str(file), pixels(_content(file), str(file))) for _, file in files)
    return ImageSet(images, torch.tensor([label for label, _ in files], dtype=torch.int64)), classes


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
