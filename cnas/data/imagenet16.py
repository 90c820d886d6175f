"""ImageNet16-120: the first 120 classes of ImageNet at 16×16 pixels, from its official downsampled files.

The files are those of Chrabaszcz et al. (2017), ``train_data_batch_1`` to ``_10`` and ``val_data``: pickles with
``data``, a row of 256 red, 256 green and 256 blue values for each image, and ``labels`` from 1. Which classes are
taken, and the statistics, are those of NATS-Bench (Dong et al., 2021).

Legend: N images of a file, n of them in the first 120 classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnas.data._image_source import ImageSource
from cnas.data.image_set import ChannelStatistics, ImageSet
from cnas.data.safe_pickle import safe_load
from cnas.errors import UserError

CLASSES, SIDE = 120, 16
_LARGEST = 256 << 20
"""Bytes of a file; those of ImageNet16 have up to 99 MB."""
TRAIN, TEST = tuple(f"train_data_batch_{number}" for number in range(1, 11)), "val_data"
_STATISTICS = ChannelStatistics(
    tuple(x / 255 for x in (122.68, 116.66, 104.01)), tuple(x / 255 for x in (63.22, 61.26, 65.09))
)


def is_imagenet16(folder: Path) -> bool:
    """Whether any of the official files lies in ``folder``."""
    return any((folder / name).is_file() for name in (*TRAIN, TEST))


def read_imagenet16(folder: Path) -> ImageSource:
    """The images of the official files in ``folder``.

    Raises:
        UserError: a file is missing, asks for more than plain values, or does not hold what it should.
    """
    absent = [name for name in (*TRAIN, TEST) if not (folder / name).is_file()]
    if absent:
        raise UserError(f"data folder {folder} lacks files of ImageNet16: {', '.join(absent)}")
    parts = [_read(folder / name) for name in TRAIN]
    train = ImageSet(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))
    classes = tuple(map(str, range(CLASSES)))
    return ImageSource("imagenet16_120", {"train": train, "test": _read(folder / TEST)}, classes, _STATISTICS)


def _read(path: Path) -> ImageSet:
    """The images of one file in the first 120 classes: uint8 [n, 3, 16, 16], labels from 0."""
    try:
        with path.open("rb") as file:
            content = safe_load(file, str(path), encoding="latin1", largest=_LARGEST)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    if not isinstance(content, dict) or not {"data", "labels"} <= set(content):
        raise UserError(f"{path} must hold a dict with data and labels")
    data, labels = content["data"], content["labels"]
    _check(data, labels, path)
    labels_N = torch.tensor([int(label) for label in labels], dtype=torch.int64)
    chosen_n = (labels_N <= CLASSES).nonzero().squeeze(1)
    images_N = torch.from_numpy(np.array(data, order="C")).view(-1, 3, SIDE, SIDE)
    return ImageSet(images_N[chosen_n], labels_N[chosen_n] - 1)


def _check(data: Any, labels: Any, path: Path) -> None:
    """Raise a `UserError` unless ``data`` is uint8 [N, 768] and ``labels`` N whole numbers from 1."""
    width = 3 * SIDE * SIDE
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != width:
        raise UserError(f"{path}: data must be an array of bytes with {width} columns, {SIDE}x{SIDE} RGB images")
    if not isinstance(labels, list) or len(labels) != len(data):
        raise UserError(f"{path}: labels must be a list of {len(data)}, one for each image")
    whole = (isinstance(label, int | np.integer) and not isinstance(label, bool) and label >= 1 for label in labels)
    wrong = next((row for row, fits in enumerate(whole) if not fits), None)
    if wrong is not None:
        found = " ".join(repr(labels[wrong]).split())[:40]
        raise UserError(f"{path}: row {wrong} (from 0) has the label {found}; labels must be whole numbers from 1")
