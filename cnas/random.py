"""Counter-based randomness: every draw is a function of (seed, stream name, counters).

There is no generator state to save: a run that is resumed, or goes on with another number of processes, draws the
same numbers, and drawing for one purpose never shifts the draws of another. Generators live in host memory, so the
draws are the same on every accelerator.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

HOST = torch.Generator().device
"""Host memory: where draws are made, and where float64 exists whatever the accelerator."""


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on ``device``, without waiting for it: what leaves host memory goes through pinned memory.

    Args:
        tensor: in any memory.
        device: where it is wanted; a tensor that is there already is returned as it is.
    """
    if tensor.device.type == HOST.type != device.type and torch.accelerator.is_available():
        return tensor.contiguous().pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def generator(seed: int, stream: str, *counters: int) -> torch.Generator:
    """A new generator that belongs to one seed, one named purpose and one position.

    Args:
        seed: the run's seed.
        stream: the name of the purpose, e.g. ``"route"``.
        counters: the position within it, e.g. the step.

    Example:
        >>> a, b = (torch.rand(2, generator=generator(1, "route", 7)) for _ in range(2))
        >>> bool((a == b).all())
        True
    """
    key = "/".join([str(seed), stream, *map(str, counters)]).encode()
    value = int.from_bytes(hashlib.sha256(key).digest()[:8], "little")
    return torch.Generator().manual_seed(value)


@dataclass(frozen=True)
class DropoutSeeds:
    """The seed, step and rows from which the dropout masks of a batch are drawn.

    Masks are drawn for all ``total`` rows of the global batch and then cut to this rank's ``rows``, so that the number
    of processes does not change them.

    Args:
        seed: the run's seed.
        stream: the name of the purpose, e.g. ``"search/dropout"``.
        step: the weight step the batch belongs to.
        rows: which rows of the global batch this rank has.
        total: how many rows the global batch has.
    """

    seed: int
    stream: str
    step: int
    rows: slice
    total: int

    def generator(self, name: str) -> torch.Generator:
        """The generator of one kind of mask, e.g. ``"hidden"``."""
        return generator(self.seed, f"{self.stream}/{name}", self.step)
