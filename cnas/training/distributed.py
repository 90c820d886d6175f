"""The processes of a run: who works on which rows, and how their results become one.

Everything that leaves a process is in global order, so a result, and a checkpoint, is the same whatever the number of
processes.

Legend: B rows of the global batch, b rows of this process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.autograd.function import once_differentiable

from cnas.data.base import process_rows
from cnas.errors import ProcessGroupError


@contextmanager
def collective_errors() -> Iterator[None]:
    """What processes do together; where one of them is gone or stuck, the others say so in one line.

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
        return None if self.world == 1 else self._all_reduce_sum

    def _all_reduce_sum(self, values: Tensor) -> Tensor:
        total: Tensor = _AllReduceSum.apply(values, self.sum)
        return total

    def sum_numbers(self, *values: float) -> list[float]:
        """The sums over processes of a few numbers, in float64."""
        if self.world == 1:
            return list(values)
        device = self.accelerator.device
        return [float(total) for total in self.sum(torch.tensor(values, dtype=torch.float64, device=device))]

    def from_main(self, value: float) -> float:
        """The main process's value, on every process."""
        return self.sum_numbers(value if self.accelerator.is_main_process else 0.0)[0]

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

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum the gradients over processes, those that exist, in one flat exchange.

        A routing uses some of a supernet's parameters, the same on every process; the others have no gradient and stay
        untouched. (Wrapped in DistributedDataParallel, single-path networks need a search for unused parameters.)
        """
        if self.world == 1:
            return
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.sum(torch.cat([grad.flatten() for grad in grads]))
        for grad, part in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(part.view_as(grad))


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
