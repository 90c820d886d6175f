"""What every reader of images returns, and what must hold of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from cnas.data.image_set import ChannelStatistics, ImageSet
from cnas.errors import UserError


@dataclass(frozen=True, eq=False)
class ImageSource:
    """A data set as it is published, before it is divided for a search.

    Args:
        name: what results call it.
        splits: ``train``, ``test`` and, where there is one, ``validation``.
        classes: their names.
        statistics: the published ones; None where none are published.
        flip: whether a mirrored image still belongs to its class.
        passed_over: what its folder holds that was not read, by reason (see `cnas.data._passed_over`).
    """

    name: str
    splits: Mapping[str, ImageSet]
    classes: tuple[str, ...]
    statistics: ChannelStatistics | None = None
    flip: bool = True
    passed_over: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def check(source: ImageSource) -> ImageSource:
    """The source, if all its images have one shape and all its labels a class.

    Raises:
        UserError: a split is empty, has another shape than the training images or a label of no class, or there is
            one class only.
    """
    _check_split(source, "train")
    check_classes(source.splits["train"], f"data {source.name}: train")
    for split in source.splits:
        _check_split(source, split)
    return source


def _check_split(source: ImageSource, split: str) -> None:
    images, where = source.splits[split], f"data {source.name}: {split}"
    if not len(images):
        raise UserError(f"{where} has no images")
    if images.shape != source.splits["train"].shape:
        found, expected = shown(images.shape), shown(source.splits["train"].shape)
        raise UserError(f"{where} has images of {found}, those of train have {expected}: all must have one size")
    wrong = ((images.labels < 0) | (images.labels >= len(source.classes))).nonzero()
    if len(wrong):
        row = int(wrong[0])
        allowed = f"labels must be 0 to {len(source.classes) - 1}"
        raise UserError(f"{where}: row {row} (from 0) has the label {int(images.labels[row])}; {allowed}")


def check_classes(images: ImageSet, where: str) -> None:
    """Raise a `UserError` where all images are of one class."""
    if len(torch.unique(images.labels)) < 2:
        raise UserError(
            f"{where}: all {len(images)} images have the label {int(images.labels[0])}; at least 2 classes are needed"
        )


def shown(shape: Sequence[int]) -> str:
    """(C, H, W) in words."""
    channels, height, width = shape
    return f"{height}x{width} pixels with {channels} channel{'s' if channels > 1 else ''}"


def numbered(train: ImageSet, where: str) -> tuple[str, ...]:
    """The names of classes that have none: 0 to the largest label of the training images.

    Raises:
        UserError: a number in between does not occur, so the labels do not count classes.
    """
    found = torch.unique(train.labels[train.labels >= 0]).tolist()
    gap = next((number for number, label in enumerate(found) if number != label), None)
    if gap is not None:
        raise UserError(f"{where}: no row has the label {gap}; labels must count from 0 without gaps, got {found[gap]}")
    return tuple(map(str, found))
