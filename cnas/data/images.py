"""Labelled images: embedded, of a local folder, of the Hub, or a `datasets.Dataset` in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from cnas.data._image_splits import by_file, halved
from cnas.data._image_table import Columns, table_images, table_source
from cnas.data.dataset_tables import IN_MEMORY, OBJECT, check_named, evaluation_table, object_tables
from cnas.data.image_batches import Augment
from cnas.data.image_folder import read_folder
from cnas.data.image_set import ChannelStatistics, ImageSet, ImageSource, check, check_classes
from cnas.data.paths import named, named_folder
from cnas.data.published_images import is_imagenet16, load_digits, read_hub, read_imagenet16
from cnas.data.tables import SPLITS
from cnas.errors import UserError
from cnas.fields import RemembersGiven
from cnas.random import generator

LEAST = 2
"""Images of a split: a batch of one has no statistics that it could be normalised with."""


@dataclass(frozen=True, kw_only=True)
class ImageConfig(RemembersGiven):
    """How images are divided and augmented, and how many of each split are used.

    Raises:
        UserError: a field is too small, or of another type.
    """

    search_images: int | None = None
    """The search sees so many of the training images; all by default."""

    train_images: int | None = None
    """Use so many images of the training split; all by default."""

    valid_images: int | None = None
    """Use so many images of the validation split; all by default."""

    test_images: int | None = None
    """Use so many images of the test split; all by default."""

    image_column: str | None = None
    """Of a table, the column of images; by default ``img`` or else ``image``."""

    label_column: str | None = None
    """Of a table, the column of labels; by default ``label`` or else ``fine_label``."""

    split_file: str | None = None
    """A file of NATS-Bench that says which images are validated on; none halves the training images."""

    split_seed: int = 1
    """Of the draws that halve the training images and choose so many of a split; not the seed of the run."""

    flip: bool | None = None
    """Mirror one training image in two; by default all images but digits."""

    pad: int | None = None
    """Move training images by up to so many pixels; by default an eighth of their smaller side."""

    cutout: int = 0
    """Side of a square blanked in every training image, in pixels; 0 for none."""

    scoring_view: Literal["plain", "augmented"] = "plain"
    """How the curriculum's K subnets see the images; the authors' code augments them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = dict.fromkeys(("search_images", "train_images", "valid_images", "test_images"), LEAST)
        for name, bound in (counts | {"split_seed": 0, "pad": 0, "cutout": 0}).items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise UserError(f"images.{name} must be at least {bound}, got {value}")


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set of images, ready for a run.

    Args:
        name: what it is called in results; for a local folder only its last part, for data in memory ``dataset:`` and
            its fingerprint.
        fingerprint: 16 hex digits of the sha256 of all pixels, labels and class names as they are divided, before any
            of them is left out; equal images in equal splits have the same one, whatever the format of their files.
        classes: names of the classes; a label is a place in it.
        train: like the next ones, cut to the images the config asks for.
        validation: shares no image with ``train``.
        test: shares no image with the others; None where the data has no test split.
        search: those of ``train`` that the search sees.
        statistics: the published ones of the data set; where there are none, those of ``search``.
        augment: what is done to training images.
        splits: ``{"images": ..., "from": ...}`` of each split before it was cut.
        passed_over: ``{reason: {"entries": ..., "first": [...]}}`` of what lies in the folder and was not read.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    train: ImageSet
    validation: ImageSet
    test: ImageSet | None
    search: ImageSet
    statistics: ChannelStatistics
    augment: Augment
    splits: dict[str, dict[str, Any]]
    passed_over: Mapping[str, dict[str, Any]]


def load_images(data: Any, config: ImageConfig, *, eval_dataset: Any = None) -> ImageData:
    """Read a data set of images and divide it.

    Args:
        data: ``digits``; else an existing folder: the official files of ImageNet16, Parquet files, or images in folders
            ``train/CLASS/`` and ``test/CLASS/``; else ``cifar10``, ``cifar100`` or another id of the Hub. Or a
            `datasets.Dataset` to train on, or a `DatasetDict` with ``train``, and ``validation``, ``test`` or both.
        config: how it is divided and augmented, and how much of it to take.
        eval_dataset: beside data in memory: a `Dataset` to validate on, or a `DatasetDict` with ``validation`` and
            ``test``.

    Raises:
        UserError: there is no such data set, it is out of reach, an image or a label cannot be used, there is one class
            only, or the split file does not fit.

    Example:
        >>> digits = load_images("digits", ImageConfig(search_images=200))
        >>> len(digits.search), len(digits.train), len(digits.validation), len(digits.test)
        (200, 719, 719, 359)
        >>> digits.train.shape, digits.classes[:3], digits.augment.flip
        ((1, 8, 8), ('0', '1', '2'), False)
    """
    source = check(_read(data, (config.image_column, config.label_column), eval_dataset))
    file = config.split_file
    division = by_file(source, named(file) or Path(file)) if file else halved(source, config.split_seed)
    whole = division.splits
    for split, images in whole.items():
        if len(images) < LEAST:
            found = f"{len(images)} image{'s' * (len(images) != 1)}"
            raise UserError(f"data {source.name}: {split} has {found} as it is divided; at least {LEAST} are needed")
    train = _some(whole["train"], config.train_images, "train", config.split_seed)
    search = _some(train, config.search_images, "search", config.split_seed)
    check_classes(train, f"data {source.name}: train as it is divided (images.split_seed, images.train_images)")
    check_classes(search, f"data {source.name}: the images of the search (images.search_images)")
    fingerprint = _fingerprint(whole, source.classes)
    return ImageData(
        name=source.name if isinstance(data, str) else OBJECT + fingerprint,
        fingerprint=fingerprint,
        classes=source.classes,
        train=train,
        validation=_some(whole["validation"], config.valid_images, "validation", config.split_seed),
        test=_some(whole["test"], config.test_images, "test", config.split_seed) if "test" in whole else None,
        search=search,
        statistics=source.statistics or ChannelStatistics.of(search.images),
        augment=_augment(source, config),
        splits={split: {"images": len(whole[split]), "from": words} for split, words in division.origin.items()},
        passed_over=source.passed_over,
    )


def _read(data: Any, columns: Columns, eval_dataset: Any) -> ImageSource:
    if not isinstance(data, str):
        return table_source(IN_MEMORY, object_tables(data, eval_dataset), columns)
    check_named(data, eval_dataset)
    if data == "digits":
        return load_digits()
    folder = named_folder(data, "data")
    if folder is not None:
        return read_imagenet16(folder) if is_imagenet16(folder) else read_folder(folder, columns)
    return read_hub(data, columns)


def read_evaluation(data: Any, config: ImageConfig, known: ImageData) -> ImageSet:
    """Other images of a run's classes.

    Args:
        data: a name or path, or a `DatasetDict`, of which the validation images are read, or the test images where it
            has no others; or a `datasets.Dataset`. Labels without names count the run's classes.
        config: of the run.
        known: the images of the run.

    Raises:
        UserError: as `load_images`, or there are other classes or sizes.
    """
    columns = (config.image_column, config.label_column)
    names: tuple[str, ...] | None
    if isinstance(data, str):
        source = _read(data, columns, None)
        found, names = source.splits["validation" if "validation" in source.splits else "test"], source.classes
    else:
        found, names = table_images(evaluation_table(data), columns)
    if names not in (None, known.classes):
        raise UserError(f"eval_dataset must have the run's classes {known.classes!r:.80}, got {names!r:.80}")
    if len(found) < LEAST:
        raise UserError(f"eval_dataset has {len(found)} images; at least {LEAST} are needed")
    # The checks of a split beside a training split.
    check(ImageSource("of the run", {"train": known.train, "eval_dataset": found}, known.classes))
    return found


def _some(images: ImageSet, count: int | None, purpose: str, seed: int) -> ImageSet:
    """So many drawn images in the order of the data set; a larger count contains a smaller one."""
    if count is None or count >= len(images):
        return images
    order = torch.randperm(len(images), generator=generator(seed, f"images/{purpose}"))
    return images.take(order[:count].sort().values)


def _augment(source: ImageSource, config: ImageConfig) -> Augment:
    """What the config says of training images, and where it says nothing, what is usual for such images."""
    side = min(source.splits["train"].shape[1:])
    for field in ("pad", "cutout"):
        if (getattr(config, field) or 0) > side:
            raise UserError(
                f"images.{field} must be at most {side}, the side of an image, got {getattr(config, field)}"
            )
    return Augment(
        flip=source.flip if config.flip is None else config.flip,
        pad=max(side // 8, 1) if config.pad is None else config.pad,
        cutout=config.cutout,
        while_scoring=config.scoring_view == "augmented",
    )


def _fingerprint(splits: Mapping[str, ImageSet], classes: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\n".join(classes).encode())
    for split in (split for split in SPLITS if split in splits):
        images = splits[split]
        digest.update(f"\n{split} {len(images)} {images.shape}\n".encode())
        digest.update(images.images.contiguous().numpy().data)
        digest.update(images.labels.numpy().data)
    return digest.hexdigest()[:16]
