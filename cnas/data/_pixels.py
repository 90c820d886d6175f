"""From an encoded image to its pixels, and from many to one tensor.

Legend: N images, C channels, H rows and W columns of pixels.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from cnas.data._image_source import shown
from cnas.errors import UserError

_GREY = {"1", "L"}
_COLOUR = {"RGB", "P"}
LARGEST = 1 << 24
"""Pixels of an image; a file of a few kilobytes may say it has billions."""


def pixels(data: bytes, where: str) -> Tensor:
    """The pixels of one encoded image, uint8 [1, H, W] for grey and [3, H, W] for coloured ones.

    Args:
        data: PNG, JPEG or another format that Pillow reads.
        where: how messages call it.

    Raises:
        UserError: the bytes are no whole image, or one that is neither grey nor RGB with 8 bits.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > LARGEST:
                raise ValueError(f"{image.width}x{image.height} pixels are more than {LARGEST:,}")
            image.load()
            mode = "RGBA" if "transparency" in image.info else image.mode
            plain = image.convert("L" if mode in _GREY else "RGB") if mode in _GREY | _COLOUR else None
    except Exception as error:  # Pillow's decoders pass on whatever they stumble over
        raise UserError(f"{where} is no readable image: {' '.join(str(error).split())}") from error
    if plain is None:
        raise UserError(f"{where} has the mode {mode}; allowed are grey (L) and RGB with 8 bits and no transparency")
    array = torch.from_numpy(np.array(plain))
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
            expected = shown(found[0].shape)
            raise UserError(f"{where} has {shown(image.shape)}, the first image {expected}: all must be alike")
        found.append(image)
    return torch.stack(found) if found else torch.zeros(0, 1, 1, 1, dtype=torch.uint8)
