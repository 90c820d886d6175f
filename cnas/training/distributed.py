"""The processes of a run: which rows each works on, how their results become one, and whether they are still equal.

Everything that leaves a process is in global order, so a result, and a checkpoint, is the same whatever the number of
processes. They compute the same update from the same sums, so they hold the same numbers, to the last bit. Broken
memory, two kinds of accelerators in one run, or a draw that depends on the process let them part silently, and the
result would be that of no training at all: `check_equal` finds it.

Legend: B rows of the global batch, b rows of this process.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from torch.autograd.function import once_differentiable

from cnas.data.base import process_rows
from cnas.errors import ProcessGroupError
from cnas.random import HOST

OWN = ("rows", "position.seconds")
"""What each process has for itself: the rows it has written, and its clock."""


@contextmanager
def collective_errors() -> Iterator[None]:
    """Turn the failure of an exchange between processes into one line: one of them is gone or stuck.

    Raises:
        ProcessGroupError: the exchange failed, at once where a process has ended, otherwise after the time it may take.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as problem:
        # Without the place in the source it comes from, and what one should do about that.
        reason = re.sub(r"^\[[^\]]*\] *", "", str(problem).strip()).partition("\n")[0].partition(". ")[0][:200]
        raise ProcessGroupError(
            f"another process of this run has ended or is stuck ({reason}); the last checkpoint is kept, "
            "go on with --resume"
        ) from problem


class ProcessGroup:
    """A thin view of an `Accelerator`: slicing, summing and gathering by rows."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator

    @property
    def world(self) -> int:
        """How many processes there are."""
        return int(self.accelerator.num_processes)

    def rows(self, total: int) -> slice:
        """The rows of a global batch of ``total`` that this process works on."""
        return process_rows(total, self.accelerator.process_index, self.world)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over processes, on every one of them."""
        if self.world == 1:
            return values
        with collective_errors():
            total: Tensor = self.accelerator.reduce(values, "sum")
        return total

    def wait(self) -> None:
        """Wait until every process is here."""
        with collective_errors():
            self.accelerator.wait_for_everyone()

    @property
    def all_reduce_sum(self) -> Callable[[Tensor], Tensor] | None:
        """The sum over processes as part of the graph: what a gradient reaches on one process, it reaches on all.

        None where there is one process.
        """
        return None if self.world == 1 else lambda values: _AllReduceSum.apply(values, self.sum)

    def sum_numbers(self, *values: float) -> list[float]:
        """The sums over processes of a few numbers, in float64."""
        if self.world == 1:
            return list(values)
        device = self.accelerator.device
        return [float(total) for total in self.sum(torch.tensor(values, dtype=torch.float64, device=device))]

    def from_main(self, *values: float) -> list[float]:
        """The main process's values, on every process."""
        return self.sum_numbers(*(value if self.accelerator.is_main_process else 0.0 for value in values))

    def gather_rows(self, local: Tensor, total: int, dim: int = 0) -> Tensor:
        """The global [.., B, ..] tensor from every process's [.., b, ..] rows along ``dim``.

        Done as a sum with zeros elsewhere: exact, and it needs no equal shares.
        """
        if self.world == 1:
            return local
        shape = list(local.shape)
        shape[dim] = total
        placed = local.new_zeros(shape)
        rows = self.rows(total)
        placed.narrow(dim, rows.start, rows.stop - rows.start).copy_(local)
        return self.sum(placed)

    def local_rows(self, whole: Tensor | None, total: int) -> Tensor | None:
        """This process's rows of a global [B, ..] tensor, on its device, and None of None: undoes `gather_rows`."""
        return None if whole is None else whole[self.rows(total)].to(self.accelerator.device)

    def sum_all(self, tensors: Sequence[Tensor], dtype: torch.dtype | None = None) -> Sequence[Tensor]:
        """The sums over processes, each in its dtype and memory, in one flat exchange in ``dtype``."""
        if self.world == 1:
            return tensors
        flat = torch.cat([tensor.flatten().to(self.accelerator.device, dtype or tensor.dtype) for tensor in tensors])
        parts = self.sum(flat).split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor).to(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum the gradients over processes, those that exist, in one flat exchange.

        A routing uses some of a supernet's parameters, the same on every process; the others have no gradient and stay
        untouched. (Wrapped in DistributedDataParallel, single-path networks need a search for unused parameters.)
        """
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for grad, total in zip(grads, self.sum_all(grads), strict=True):
            if total is not grad:
                grad.copy_(total)


class _AllReduceSum(torch.autograd.Function):
    """Every process adds its part to the sum, and has a loss of its own that depends on it: both ways it is a sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.total = total
        return total(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.total(grads[0].contiguous()), None


def check_equal(processes: ProcessGroup, state: Mapping[str, Any], place: str) -> None:
    """Compare a state over all processes; every one of them calls this, and learns the same.

    Args:
        processes: of the run.
        state: what a checkpoint would hold: nested dicts and lists of tensors of any dtype, numbers and text.
        place: where the run stands, for the message.

    Raises:
        ProcessGroupError: a process holds something else than the main one; the message names both.
    """
    if processes.world == 1:
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
