"""Which images a search trains on, and which it validates on.

NATS-Bench fixes this by files of indices; they are read where the user has them. Without one, and without a validation
split of its own, a data set's training images are halved by a draw that has its own seed, so that runs of different
seeds see the same halves.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnas.data.image_set import ImageSet, ImageSource
from cnas.errors import UserError
from cnas.random import generator

_FILES = {
    ("train", "valid"): ("train", ("train", "validation"), "test"),
    ("xvalid", "xtest"): ("test", ("validation", "test"), "train"),
}
"""By what a file names: the split that is divided, what its parts become, and the split that stays."""
_DIGITS = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, eq=False)
class Division:
    """The splits of a search, of which ``test`` may be absent, and in words where each is from."""

    splits: dict[str, ImageSet]
    origin: dict[str, str]


def halved(source: ImageSource, seed: int) -> Division:
    """The source as it is where it has validation images; otherwise its training images in two drawn halves.

    Args:
        source: whose splits.
        seed: of the draw; the halves keep the order of the data set, and the first one gets the odd image.
    """
    if "validation" in source.splits:
        names = [name for name in ("train", "validation", "test") if name in source.splits]
        return Division({name: source.splits[name] for name in names}, {name: name for name in names})
    train, test = source.splits["train"], source.splits["test"]
    order = torch.randperm(len(train), generator=generator(seed, "images/half"))
    first, second = (half.sort().values for half in order.tensor_split(2))
    words = f"half of train, split_seed {seed}"
    return Division(
        {"train": train.take(first), "validation": train.take(second), "test": test},
        {"train": words, "validation": f"the other {words}", "test": "test"},
    )


def by_file(source: ImageSource, path: Path) -> Division:
    """The splits that a NATS-Bench file names.

    ``train`` and ``valid`` divide the training images (CIFAR-10); ``xvalid`` and ``xtest`` divide the test images, and
    all training images are trained on (CIFAR-100, ImageNet16-120).

    Args:
        source: whose splits.
        path: JSON, ``{"train": ["int", ["0", ...]], "valid": ["int", ["1", ...]]}`` or with the other two names.

    Raises:
        UserError: the file cannot be read, names other splits, or an index is none of the data or there twice; or the
            data has a validation split of its own.
    """
    if "validation" in source.splits:
        raise UserError(f"images.split_file must be none: data {source.name} has validation images of its own")
    content = _read(path)
    for names, (divided, places, whole) in _FILES.items():
        if set(names) != set(content):
            continue
        images = source.splits[divided]
        indices = [_indices(content[name], name, len(images), path) for name in names]
        if len(torch.unique(torch.cat(indices))) < sum(map(len, indices)):
            raise UserError(f"images.split_file {path}: {names[0]} and {names[1]} share an index, or one is twice")
        parts = {place: images.take(each) for place, each in zip(places, indices, strict=True)}
        origin = {place: f"{name} of {path.name}" for place, name in zip(places, names, strict=True)}
        return Division({whole: source.splits[whole], **parts}, {whole: whole, **origin})
    raise UserError(f"images.split_file {path} must name train and valid, or xvalid and xtest, got {sorted(content)}")


def _read(path: Path) -> dict[str, Any]:
    # Unlike the method of Path, this answers for any string; a pipe would have to be waited for.
    if not os.path.isfile(path):  # noqa: PTH113
        raise UserError(f"images.split_file {path} cannot be read: it is no file")
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"images.split_file {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        place = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"images.split_file {path} cannot be read as JSON{place}") from error
    if not isinstance(content, dict):
        raise UserError(f"images.split_file {path} must hold an object with the splits, got {type(content).__name__}")
    return content


def _indices(value: Any, name: str, count: int, path: Path) -> Tensor:
    """The indices of one split, int64 in ascending order."""
    listed = value[1] if isinstance(value, list) and len(value) == 2 and value[0] == "int" else None
    if not isinstance(listed, list) or not listed or not all(isinstance(each, str | int) for each in listed):
        raise UserError(f'images.split_file {path}: {name} must be ["int", [indices]] with at least one index')
    wrong = next((each for each in listed if not _DIGITS.fullmatch(str(each)) or int(each) >= count), None)
    if wrong is not None:
        raise UserError(f"images.split_file {path}: {name} has the index {wrong!r:.40}; allowed are 0 to {count - 1}")
    return torch.tensor([int(each) for each in listed], dtype=torch.int64).sort().values
