"""A pool that reuses large buffers: first touching memory that is new to the process would cost a tenth of a step.

This file imports torch alone, because it belongs beside a model that must load where `cnas` is missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class BufferPool:
    """Gives out buffers and keeps the largest one that was returned, for the next call of `take`.

    Copies and pickles are empty. A buffer comes back when its `Buffers` is deleted, e.g. with the autograd graph that
    holds it, so that one that is still needed is never given out twice.

    Example:
        >>> memory = BufferPool()
        >>> buffers = memory.take([(2, 3), (4,)], torch.zeros(1))
        >>> place = buffers.parts[0].data_ptr()
        >>> del buffers
        >>> memory.take([(5,)], torch.zeros(1)).parts[0].data_ptr() == place
        True
    """

    def __init__(self) -> None:
        self._kept: Tensor | None = None

    def take(self, shapes: Sequence[tuple[int, ...]], like: Tensor, dtype: torch.dtype | None = None) -> Buffers:
        """Tensors with arbitrary values, on the device of ``like`` and in ``dtype`` or that of ``like``."""
        dtype, count = like.dtype if dtype is None else dtype, sum(map(math.prod, shapes))
        kept, self._kept = self._kept, None
        if kept is None or len(kept) < count or kept.dtype is not dtype or kept.device != like.device:
            kept = None  # freed before the new one is made
            # Memory from inference mode could not be used outside of it.
            with torch.inference_mode(False):
                kept = torch.empty(count, dtype=dtype, device=like.device)
        return Buffers(kept, shapes, self)

    def put_back(self, buffer: Tensor) -> None:
        """Keep a buffer that nobody uses any more; `Buffers` calls this when it is deleted."""
        if self._kept is None or len(self._kept) < len(buffer):
            self._kept = buffer

    def __reduce__(self) -> tuple[Any, ...]:
        return BufferPool, ()


class Buffers:
    """Tensors cut from one buffer of a pool; the buffer goes back when this object is deleted."""

    def __init__(self, buffer: Tensor, shapes: Sequence[tuple[int, ...]], memory: BufferPool) -> None:
        sizes = [math.prod(shape) for shape in shapes]
        cut = buffer[: sum(sizes)].split(sizes)
        self.parts = [part.view(shape) for part, shape in zip(cut, shapes, strict=True)]
        self._buffer, self._memory = buffer, memory

    def __del__(self) -> None:
        self._memory.put_back(self._buffer)
