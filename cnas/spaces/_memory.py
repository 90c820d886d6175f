"""Large buffers that are used again: first touching memory that is new to the process would cost a tenth of a step.

This file imports torch alone, because it belongs beside a model that must load where `cnas` is missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class BufferPool:
    """Lends buffers, and keeps the largest that has come back for the next one who asks.

    Copies and pickles are empty. A buffer comes back when its `Buffers` is deleted, e.g. with the autograd graph that
    holds it, so that one that is still needed is never lent twice.

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
        """Tensors of any values, on the device of ``like`` and in ``dtype`` or that of ``like``."""
        dtype, count = like.dtype if dtype is None else dtype, sum(map(math.prod, shapes))
        kept, self._kept = self._kept, None
        if kept is None or len(kept) < count or kept.dtype is not dtype or kept.device != like.device:
            kept = None  # freed before the new one is made
            # Memory from inference mode could not be used outside of it.
            with torch.inference_mode(False):
                kept = torch.empty(count, dtype=dtype, device=like.device)
        return Buffers(kept, shapes, self)

    def take_back(self, buffer: Tensor) -> None:
        """What a loan does in the end."""
        if self._kept is None or len(self._kept) < len(buffer):
            self._kept = buffer

    def __reduce__(self) -> tuple[Any, ...]:
        return BufferPool, ()


class Buffers:
    """``parts`` of one buffer, until this object is deleted."""

    def __init__(self, buffer: Tensor, shapes: Sequence[tuple[int, ...]], memory: BufferPool) -> None:
        sizes = [math.prod(shape) for shape in shapes]
        cut = buffer[: sum(sizes)].split(sizes)
        self.parts = [part.view(shape) for part, shape in zip(cut, shapes, strict=True)]
        self._buffer, self._memory = buffer, memory

    def __del__(self) -> None:
        self._memory.take_back(self._buffer)
