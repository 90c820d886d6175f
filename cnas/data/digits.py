"""The embedded images `digits`: 1,797 handwritten digits, 8×8 and grey, that scikit-learn carries.

They are the test set of the UCI collection of handwritten digits (Alpaydin and Kaynak, 1998). They serve demonstrations
and tests where no data set can be had; an accuracy on them is never comparable with one on CIFAR.
"""

from __future__ import annotations

import torch

from cnas.data._image_source import ImageSource
from cnas.data.image_set import ImageSet
from cnas.errors import UserError

WHITE = 16
"""The largest value of a pixel in the collection."""


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
