"""Encoded images as pixels; tables of them in the Hub's schema, with the columns ``img`` or ``image``, and ``label``.

Legend: N images, C channels, H rows and W columns of pixels.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnas.data.image_set import ImageSet, ImageSource, numbered, shape_text
from cnas.data.tables import Table
from cnas.errors import UserError

IMAGES = ("img", "image")
"""Where the images of a table are looked for, in this order."""

LABELS = ("label", "fine_label")
"""Where their labels are looked for, in this order; CIFAR-100 has the second."""

Columns = tuple[str | None, str | None]
"""The columns of images and labels where they are given by name."""

_GREY = {"1", "L"}
_COLOUR = {"RGB", "P"}
LARGEST = 1 << 24
"""Pixels of an image; a file of a few kilobytes may say it has billions."""


def pixels(data: bytes, where: str) -> Tensor:
    """The pixels of one encoded image, uint8 [1, H, W] for grey and [3, H, W] for coloured ones.

    They are those that ``pipeline("image-classification")``, the image processor of a run and `datasets` see: turned
    as the file's orientation says, and of an animation the first picture.

    Args:
        data: PNG, JPEG or another format that Pillow reads.
        where: how messages call it.

    Raises:
        UserError: the bytes are no whole image, or one that is neither grey nor RGB with 8 bits.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not data:
        raise UserError(f"{where} is no readable image: it has 0 bytes")
    try:
        # What Pillow finds odd about a file it reads is nothing that its user could do anything about.
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > LARGEST:
                found = f"{image.width}x{image.height} pixels are more than {LARGEST:,}"
                raise UserError(f"{where} is no readable image: {found}")
            image.load()
            return _tensor(ImageOps.exif_transpose(image), where)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{where} is no readable image: {len(data):,} bytes of no known format") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{where} is no readable image: it has more than {LARGEST:,} pixels") from error
    except Exception as error:  # Pillow's decoders pass on whatever they stumble over
        raise UserError(f"{where} is no readable image: what it holds is broken or cut off") from error


def _tensor(image: Any, where: str) -> Tensor:
    """Grey or RGB as uint8 [C, H, W]; other modes, and what one can see through, are refused."""
    clear = "transparency" in image.info or (image.mode == "P" and image.palette.mode.endswith("A"))
    mode = "RGBA" if clear and image.mode in _GREY | _COLOUR else image.mode
    if mode not in _GREY | _COLOUR:
        raise UserError(f"{where} has the mode {mode}; allowed are grey (L) and RGB with 8 bits and no transparency")
    array = torch.from_numpy(np.array(image.convert("L" if mode in _GREY else "RGB")))
    return array[None] if array.ndim == 2 else array.permute(2, 0, 1).contiguous()


def stacked(named: Iterable[tuple[str, Tensor]]) -> Tensor:
    """Images of one shape as one tensor, uint8 [N, C, H, W].

    Args:
        named: how messages call an image, and its pixels [C, H, W].

    Raises:
        UserError: one differs from the first in size or channels.
    """
    found: list[Tensor] = []
    for where, image in named:
        if found and image.shape != found[0].shape:
            expected = shape_text(found[0].shape)
            raise UserError(f"{where} has {shape_text(image.shape)}, the first image {expected}: all must be alike")
        found.append(image)
    return torch.stack(found) if found else torch.zeros(0, 1, 1, 1, dtype=torch.uint8)


def table_source(name: str, tables: Mapping[str, Table], columns: Columns = (None, None)) -> ImageSource:
    """A data set from the tables of its splits; without names of its own its classes are numbered.

    Args:
        name: what results call it.
        tables: ``train``, and ``validation``, ``test`` or both.
        columns: of images and of labels; None is the first of `IMAGES` and of `LABELS` that is there.

    Raises:
        UserError: a column is missing, a row has no readable image or no whole number as its label, or labels without
            names do not count from 0.
    """
    found = {split: table_images(table, columns) for split, table in tables.items()}
    splits = {split: images for split, (images, _) in found.items()}
    names = found["train"][1]
    for split, (_, others) in found.items():
        if names is not None and others is not None and others != names:
            raise UserError(f"{tables[split].where} must name its classes as train does, got {[*others]!r:.80}")
    return ImageSource(name, splits, numbered(splits["train"], f"data {name}: train") if names is None else names)


def table_images(table: Table, columns: Columns = (None, None)) -> tuple[ImageSet, tuple[str, ...] | None]:
    """The images of one split, and the names of their classes where the table knows them.

    Args:
        table: of the split.
        columns: as in `table_source`.

    Raises:
        UserError: a column is missing, or a row has no readable image or no whole number as its label.
    """
    image, label = (table.column(*each) for each in (("image", IMAGES, columns[0]), ("label", LABELS, columns[1])))
    labels: list[int] = []
    images = stacked(_named_pixels(table, (image, label), labels))
    return ImageSet(images, torch.tensor(labels, dtype=torch.int64)), table.classes.get(label)


def _named_pixels(table: Table, columns: tuple[str, str], labels: list[int]) -> Iterator[tuple[str, Tensor]]:
    """The pixels of every row; its label is added to ``labels``."""
    for row, record in enumerate(table.records(columns)):
        image, label = (record[column] for column in columns)
        place = f"{table.where}: row {row} (from 0)"
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
