"""Data sets of images that are known by name: CIFAR on the Hub, the files of ImageNet16-120, and embedded digits.

Statistics, and which classes of ImageNet16 are taken, are those of NATS-Bench (Dong et al., 2021).

ImageNet16-120 is the first 120 classes of ImageNet at 16×16 pixels. Its official files are those of Chrabaszcz et al.
(2017), ``train_data_batch_1`` to ``_10`` and ``val_data``: pickles with ``data``, a row of 256 red, 256 green and 256
blue values for each image, and ``labels`` from 1.

`digits` are 1,797 handwritten digits, 8×8 and grey, that scikit-learn has with it: the test set of the UCI collection
of handwritten digits (Alpaydin and Kaynak, 1998). They serve demonstrations and tests where no data set can be had; an
accuracy on them is never comparable with one on CIFAR.

Legend: N images of a file, n of them in the first 120 classes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnas.data._image_table import Columns, table_source
from cnas.data.dataset_tables import hub_tables
from cnas.data.image_set import ChannelStatistics, ImageSet, ImageSource
from cnas.data.unpickle import safe_load
from cnas.errors import UserError

CIFAR = {
    "cifar10": ("uoft-cs/cifar10", ChannelStatistics.of_bytes((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))),
    "cifar100": ("uoft-cs/cifar100", ChannelStatistics.of_bytes((129.3, 124.1, 112.4), (68.2, 65.4, 70.4))),
}
"""By short name, the id on the Hub and the statistics."""
CLASSES, SIDE = 120, 16
_LARGEST = 256 << 20
"""Bytes of a file; those of ImageNet16 have up to 99 MB."""
TRAIN, TEST = tuple(f"train_data_batch_{number}" for number in range(1, 11)), "val_data"
_IMAGENET16 = ChannelStatistics.of_bytes((122.68, 116.66, 104.01), (63.22, 61.26, 65.09))
WHITE = 16
"""The largest value of a pixel in the collection."""


def read_hub(data: str, columns: Columns = (None, None)) -> ImageSource:
    """The images of a Hub data set.

    Args:
        data: a short name, or its id.
        columns: see `table_source`.

    Raises:
        UserError: no such name, the Hub is out of reach, or a split cannot be used.
    """
    hub_id, statistics = next((each for name, each in CIFAR.items() if data in (name, each[0])), (data, None))
    known, files = f"digits, {', '.join(CIFAR)}", "Parquet files or images (train, test)"
    tables = hub_tables(data, hub_id, known=known, files=files, needed=("train", "test"))
    return replace(table_source(data, tables, columns), statistics=statistics)


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
    return ImageSource("imagenet16_120", {"train": train, "test": _read(folder / TEST)}, classes, _IMAGENET16)


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
    whole = (isinstance(label, int) and not isinstance(label, bool) and label >= 1 for label in labels)
    wrong = next((row for row, fits in enumerate(whole) if not fits), None)
    if wrong is not None:
        found = " ".join(repr(labels[wrong]).split())[:40]
        raise UserError(f"{path}: row {wrong} (from 0) has the label {found}; labels must be whole numbers from 1")


def load_digits() -> ImageSource:
    """All digits, white on black; every fifth one is a test image.

    Raises:
        UserError: scikit-learn is not installed.

    Example:
        >>> splits = load_digits().splits
        >>> len(splits["train"]), len(splits["test"]), splits["test"].shape
        (1438, 359, (1, 8, 8))
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise UserError("data digits needs scikit-learn, which is not installed: pip install 'cnas[digits]'") from error
    found = datasets.load_digits()
    images = torch.from_numpy(found.images)[:, None] * (255 / WHITE)
    every = ImageSet(images.round().to(torch.uint8), torch.from_numpy(found.target).long())
    fifth = torch.arange(len(every)) % 5 == 4
    splits = {"train": every.take(~fifth), "test": every.take(fifth)}
    # A mirrored digit is none, or another one.
    return ImageSource("digits", splits, tuple(map(str, found.target_names)), flip=False)
