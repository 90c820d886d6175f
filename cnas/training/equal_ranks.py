"""Whether the processes of a run still hold the same numbers, to the last bit.

They compute the same update from the same sums, so they must. Broken memory, two kinds of accelerators in one run, or
a draw that depends on the process let them part silently, and the result would be that of no training at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from cnas.errors import ProcessGroupError
from cnas.random import HOST
from cnas.training.distributed import collective_errors

OWN = ("rows", "position.seconds")
"""What each process has for itself: the rows it has written, and its clock."""


def check_equal(accelerator: Accelerator, state: Mapping[str, Any], place: str) -> None:
    """Compare a state over all processes; every one of them calls this, and learns the same.

    Args:
        accelerator: of the run.
        state: what a checkpoint would hold: nested dicts and lists of tensors of any dtype, numbers and text.
        place: where the run stands, for the message.

    Raises:
        ProcessGroupError: a process holds something else than the main one; the message names both.
    """
    if accelerator.num_processes == 1:
        return
    with collective_errors():
        found: list[dict[str, str]] = gather_object([dict(digests(state))])
    if difference := first_difference(found):
        raise ProcessGroupError(f"the processes differ at {place}: {difference}")


def first_difference(found: Sequence[Mapping[str, str]]) -> str | None:
    """The first process that differs from process 0, and in what; None where all are equal.

    Args:
        found: the `digests` of every process.

    Example:
        >>> first_difference([{"model.a": "0f", "model.b": "1e"}, {"model.a": "0f", "model.b": "2d"}])
        'process 1 has another model.b than process 0'
    """
    for rank, mine in enumerate(found):
        names = [name for name in {**found[0], **mine} if found[0].get(name) != mine.get(name)]
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            return f"process {rank} has another {names[0]}{more} than process 0"
    return None


def digests(state: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, digest) of every tensor, number and text of a nested state, but for what is a process's own.

    Args:
        state: nested dicts, lists and tuples; a tensor counts with its shape, its dtype and its bits.
        path: the name of ``state`` itself.

    Example:
        >>> [name for name, _ in digests({"model": {"a": torch.ones(2)}, "rows": 3, "scaler": None})]
        ['model.a', 'scaler']
    """
    if path in OWN:
        return
    if isinstance(state, Mapping):
        items: Iterator[tuple[Any, Any]] = iter(state.items())
    elif isinstance(state, list | tuple):
        items = iter(enumerate(state))
    else:
        yield path, hashlib.sha256(_bytes(state)).hexdigest()[:16]
        return
    for key, value in items:
        yield from digests(value, f"{path}.{key}" if path else str(key))


def _bytes(leaf: Any) -> bytes:
    if not isinstance(leaf, Tensor):
        # Of a float, the shortest text that stands for it alone.
        return repr(leaf).encode()
    bits = leaf.detach().to(HOST).contiguous().reshape(-1).view(torch.uint8)
    return f"{leaf.dtype} {tuple(leaf.shape)} ".encode() + bits.numpy().tobytes()
