"""Turn a nested state dict into JSON and a flat table of tensors, and back."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cnas.random import HOST

_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8)
_FLOATS_8 = (torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz)
_DTYPES = frozenset((*_FLOATS, *_INTEGERS, *_FLOATS_8, torch.bool, torch.complex64))


def pack(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` in the types of JSON, with tensors moved into ``tensors``; dicts mark whatever JSON lacks.

    Args:
        value: nested dicts (str or int keys), lists, tuples, None, bool, int, float, str and dense tensors.
        where: how messages call it.
        tensors: gets them, in host memory, under numbered names.

    Raises:
        TypeError: it holds something else; the message says where.
    """
    match value:
        case None | bool() | int() | str():
            packed: Any = value
        case float():  # JSON has no NaN or infinity; their bits also tell one NaN from another
            packed = value if math.isfinite(value) else {"float": struct.pack(">d", value).hex()}
        case Tensor():
            packed = {"tensor": f"{len(tensors):06d}"}
            tensors[packed["tensor"]] = _to_host(value, where)
        case list() | tuple():
            items = [pack(item, f"{where}[{index}]", tensors) for index, item in enumerate(value)]
            packed = items if isinstance(value, list) else {"tuple": items}
        case dict():
            packed = {"dict": [[_key(key, where), pack(value[key], f"{where}.{key}", tensors)] for key in value]}
        case _:
            raise TypeError(f"{where} is a {type(value).__name__}, which a checkpoint cannot hold")
    return packed


def _key(key: Any, where: str) -> str | int:
    if not isinstance(key, (str, int)):
        raise TypeError(f"{where} has the key {key!r}; a checkpoint holds only str and int keys")
    return key


def _to_host(tensor: Tensor, where: str) -> Tensor:
    if tensor.layout is not torch.strided or tensor.dtype not in _DTYPES:
        raise TypeError(f"{where} is a {tensor.layout} tensor of {tensor.dtype}, which a checkpoint cannot hold")
    return tensor.detach().to(HOST).resolve_conj().resolve_neg().contiguous()


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each on storage of its own, as safetensors demands."""
    apart, seen = {}, set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return apart


def unpack(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `pack`."""
    match packed:
        case {"tensor": name}:
            return tensors[name]
        case {"float": bits}:
            return struct.unpack(">d", bytes.fromhex(bits))[0]
        case {"tuple": items}:
            return tuple(unpack(item, tensors) for item in items)
        case {"dict": items}:
            return {key: unpack(item, tensors) for key, item in items}
        case list():
            return [unpack(item, tensors) for item in packed]
    return packed
