"""From an encoded image to its pixels, and from many to one tensor.

Legend: N images, C channels, H rows and W columns of pixels.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from typing import Any

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

    They are those that ``pipeline("image-classification")``, the image processor of a run and `datasets` see: turned
    as the file's orientation says, and of an animation the first picture.

    Args:
        data: PNG, JPEG or another format that Pillow reads.
        where: how messages call it.

    Raises:
        UserError: the bytes are no whole image, or one that is neither grey nor RGB with 8 bits.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise UserError(f"{where} is no readable image: it has 0 bytes")
    try:
        # What Pillow finds odd about a file it reads is nothing that its user could do anything about.
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
            _check_size(image, where)
            return _tensor(_upright(image), where)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{where} is no readable image: {len(data):,} bytes of no known format") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{where} is no readable image: it has more than {LARGEST:,} pixels") from error
    except Exception as error:  # Pillow's decoders pass on whatever they stumble over
        raise UserError(f"{where} is no readable image: what it holds is broken or cut off") from error


def _check_size(image: Any, where: str) -> None:
    if image.width * image.height > LARGEST:
        found = f"{image.width}x{image.height} pixels are more than {LARGEST:,}"
        raise UserError(f"{where} is no readable image: {found}")


def _upright(image: Any) -> Any:
    """The decoded image, turned or mirrored as its orientation says."""
    from PIL import ImageOps

    image.load()
    return ImageOps.exif_transpose(image)


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
            expected = shown(found[0].shape)
            raise UserError(f"{where} has {shown(image.shape)}, the first image {expected}: all must be alike")
        found.append(image)
    return torch.stack(found) if found else torch.zeros(0, 1, 1, 1, dtype=torch.uint8)
