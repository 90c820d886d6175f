"""Images of a local folder: Parquet files in the Hub's schema, or one folder for each split and class."""

from __future__ import annotations

from pathlib import Path

import torch

from cnas.data._image_source import ImageSource
from cnas.data._image_table import Labelled, image_rows, source
from cnas.data._parquet import SPLITS, has_parquet, missing, parquet_files, read_parquet
from cnas.data._pixels import pixels, stacked
from cnas.data.image_set import ImageSet
from cnas.errors import UserError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}
"""Files that are taken for images."""


def read_folder(folder: Path) -> ImageSource:
    """The images of ``train``, ``test`` and, where there is one, ``validation``; Parquet wins where there is both.

    Raises:
        UserError: a split is missing or cannot be used.
    """
    name = folder.resolve().name
    if has_parquet(folder):
        wanted = [split for split in SPLITS if split != "validation" or parquet_files(folder, split)]
        return source(name, {split: read_parquet(folder, split, image_rows) for split in wanted})
    found = {split: _split_folder(folder, split) for split in SPLITS}
    for split in ("train", "test"):
        if found[split] is None:
            looked_for = (f"{alias}{end}" for alias in SPLITS[split] for end in (".parquet", "-*.parquet", "/CLASS/"))
            raise missing(folder, split, looked_for)
    there = {split: place for split, place in found.items() if place is not None}
    classes = tuple(sorted(path.name for path in there["train"].iterdir() if path.is_dir()))
    return source(name, {split: _read_classes(place, classes) for split, place in there.items()})


def _split_folder(folder: Path, split: str) -> Path | None:
    return next((folder / alias for alias in SPLITS[split] if (folder / alias).is_dir()), None)


def _read_classes(place: Path, classes: tuple[str, ...]) -> Labelled:
    """The images below ``place``, class by class, in the order of their names."""
    strange = sorted(path.name for path in place.iterdir() if path.is_dir() and path.name not in classes)
    if strange:
        raise UserError(f"{place} has a folder {strange[0]}; the classes of train are {', '.join(classes) or 'none'}")
    files = [
        (label, file)
        for label, name in enumerate(classes)
        for file in sorted((place / name).glob("**/*"))
        if file.suffix.lower() in SUFFIXES
    ]
    images = stacked((str(file), pixels(file.read_bytes(), str(file))) for _, file in files)
    return ImageSet(images, torch.tensor([label for label, _ in files], dtype=torch.int64)), classes
