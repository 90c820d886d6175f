"""Images in the Hub's schema: a table with the columns ``img`` or ``image``, and ``label``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnas.data._image_source import ImageSource, numbered
from cnas.data._parquet import Table
from cnas.data._pixels import pixels, stacked
from cnas.data.image_set import ImageSet
from cnas.errors import UserError

IMAGES = ("img", "image")
"""Where the images of a table are looked for, in this order."""

LABELS = ("label", "fine_label")
"""Where their labels are looked for, in this order; CIFAR-100 has the second."""

Labelled = tuple[ImageSet, tuple[str, ...] | None]
"""The images of one split, and the names of the classes where the table knows them."""


def image_rows(table: Table, where: str) -> Labelled:
    """The images and labels of one split.

    Args:
        table: its rows.
        where: how messages call it.

    Raises:
        UserError: a column is missing, or a row has no readable image or no whole number as its label.
    """
    image, label = (next((name for name in names if name in table.columns), None) for names in (IMAGES, LABELS))
    if image is None or label is None:
        needed = f"one of {', '.join(IMAGES)} and one of {', '.join(LABELS)}"
        raise UserError(f"{where} needs the columns of images and labels, {needed}, found {list(table.columns)}")
    labels: list[int] = []
    images = stacked(_named_pixels(table, (image, label), labels, where))
    return ImageSet(images, torch.tensor(labels, dtype=torch.int64)), table.classes.get(label)


def source(name: str, tables: dict[str, Labelled]) -> ImageSource:
    """A source from the tables of its splits; without names of its own its classes are numbered.

    Raises:
        UserError: labels without names do not count from 0.
    """
    train, names = tables["train"]
    splits = {split: images for split, (images, _) in tables.items()}
    return ImageSource(name, splits, numbered(train, f"data {name}: train") if names is None else names)


def _named_pixels(
    table: Table, columns: tuple[str, str], labels: list[int], where: str
) -> Iterator[tuple[str, Tensor]]:
    """The pixels of every row; its label is added to ``labels``."""
    for row, record in enumerate(table.records(columns)):
        image, label = (record[column] for column in columns)
        place = f"{where}: row {row} (from 0)"
        if not isinstance(label, int) or isinstance(label, bool):
            raise UserError(f"{place}: column {columns[1]} must hold whole numbers, got {type(label).__name__}")
        labels.append(label)
        yield place, pixels(_encoded(image, f"{place}: column {columns[0]}"), place)


def _encoded(image: Any, where: str) -> bytes:
    """The bytes of an image; `datasets` leaves those of a file that it has downloaded in that file."""
    data, path = (image.get("bytes"), image.get("path")) if isinstance(image, dict) else (image, None)
    if isinstance(data, bytes):
        return data
    if not isinstance(path, str):
        raise UserError(f"{where} must hold encoded images, got {type(image).__name__}")
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"{where} names a file that cannot be read: {Path(path).name!r}") from error
