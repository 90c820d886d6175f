"""Small made-up images, and files of them."""

import io
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image

from cnas.data import ImageSet
from cnas.random import generator


def made(count, shape=(3, 8, 8), classes=3, seed=1):
    """So many random images, with labels that go round."""
    draws = generator(seed, "made")
    images = torch.randint(0, 256, (count, *shape), generator=draws, dtype=torch.uint8)
    return ImageSet(images, torch.arange(count) % classes)


def picture(image):
    """A Pillow image of pixels [C, H, W]."""
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))


def encoded(image, format="PNG"):
    """A Pillow image, or pixels [C, H, W], as the bytes of a file."""
    file = io.BytesIO()
    (picture(image) if isinstance(image, torch.Tensor) else image).save(file, format)
    return file.getvalue()


def records(images):
    """The rows of a table in the Hub's schema."""
    return [{"bytes": encoded(image), "path": None} for image in images.images]


def table(rows, labels, columns=("img", "label"), names=None):
    """A `datasets` table; labels have names where these are given."""
    kind = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    features = datasets.Features({columns[0]: datasets.Image(), columns[1]: kind})
    return datasets.Dataset.from_dict({columns[0]: rows, columns[1]: labels}, features=features)


def write_parquet(folder: Path, splits, names=None, columns=("img", "label")):
    """A folder with one Parquet file for each split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, images in splits.items():
        made_table = table(records(images), images.labels.tolist(), columns, names)
        made_table.to_parquet(folder / f"{split}.parquet")
    return folder


def write_classes(folder: Path, splits, names):
    """A folder with one folder for each split and in it for each class."""
    for split, images in splits.items():
        for name in names:
            (folder / split / name).mkdir(parents=True)
        for index, (image, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
            (folder / split / names[label] / f"{index:04}.png").write_bytes(encoded(image))
    return folder
