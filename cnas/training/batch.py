"""One batch on its way through a step: fetched and placed on its device once, cut into parts, run, averaged.

Legend: B rows of the global batch, b rows of this process or part, H hidden units.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.random import HOST, DropoutSeeds, to_device
from cnas.spaces.pure import stock_output
from cnas.training.context import RunContext
from cnas.types import Batch, Output

TENSORS = ("inputs", "labels", "unit_ids")


def place(batch: Batch, device: torch.device, **fields: Any) -> Batch:
    """The batch with its tensors on ``device``, and with other ``fields`` of `Batch`."""
    placed: dict[str, Any] = {name: to_device(getattr(batch, name), device) for name in TENSORS}
    return replace(batch, **placed, **fields)


def fetch(
    batches: OrderedBatches,
    index: int,
    context: RunContext,
    hidden_state: Tensor | None = None,
    stream: str | None = None,
    step: int = 0,
) -> Batch:
    """This process's rows of global batch ``index``, on its device.

    Args:
        batches: what it is fetched from.
        index: its place there.
        context: of the run.
        hidden_state: [b, H], what the batch before left; None at the start, and where a space has none.
        stream: of the draws of its dropout masks; None draws none.
        step: at which they are drawn.
    """
    total = batches.rows(index)
    rows = context.processes.rows(total)
    return place(
        batches.to(context.device).batch(index, rows),
        context.device,
        hidden_state=hidden_state,
        dropout_seeds=None if stream is None else DropoutSeeds(context.seed, stream, step, rows, total),
        all_reduce_sum=context.processes.all_reduce_sum,
    )


@dataclass(frozen=True)
class Part:
    """Rows of a batch that go through the network at once.

    Args:
        batch: these rows.
        share: how large a part of the global batch they are.
        v: the curriculum's weight of every label; None where there is no curriculum.
    """

    batch: Batch
    share: float
    v: Tensor | None = None

    def mean_loss(self, output: Output, *, weighted: bool = True) -> Tensor:
        """The mean loss of the part, each loss times v (Eq. 4 of the paper) where there is one and it is wanted."""
        return mean(output.losses if self.v is None or not weighted else output.losses * self.v)


def cut(batch: Batch, count: int, weights: Callable[[Tensor], Tensor] | None = None) -> list[Part]:
    """A training batch of one process in parts, each with its hidden state and its rows of the dropout masks.

    Args:
        batch: what `fetch` gave, with dropout masks.
        count: how many parts there are, or fewer where there are fewer rows.
        weights: the curriculum's v of unit ids; None where there is no curriculum.
    """
    seeds, rows, parts = batch.dropout_seeds, len(batch.labels), []
    assert seeds is not None
    count, first = min(max(count, 1), max(rows, 1)), seeds.rows.start
    for start, stop in itertools.pairwise(rows * edge // count for edge in range(count + 1)):
        fields = {name: getattr(batch, name)[start:stop] for name in TENSORS}
        if batch.hidden_state is not None:
            fields["hidden_state"] = batch.hidden_state[start:stop]
        part = replace(batch, **fields, dropout_seeds=replace(seeds, rows=slice(first + start, first + stop)))
        parts.append(Part(part, (stop - start) / seeds.total, weights and weights(part.unit_ids)))
    return parts


def in_host_memory(tensor: Tensor) -> bool:
    """Whether it can be read without waiting for a device."""
    return tensor.device == HOST


def to_host(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Copies in host memory: the one place in a step that waits for the device."""
    return [tensor.to(HOST) for tensor in tensors]


def mean(losses: Tensor) -> Tensor:
    """The mean, and 0 of no losses at all: a process without a row in a batch still takes part in every sum."""
    return losses.mean() if losses.numel() else losses.sum()


def run_network(network: Any, batch: Batch) -> Output:
    """What a stand-alone network gives for a batch; the one place that knows what runs it."""
    if not hasattr(network, "run"):
        return stock_output(network, batch)
    # Only networks that normalise over whole batches have a use for the sum over processes.
    shared = {"all_reduce_sum": batch.all_reduce_sum} if getattr(network, "batch_statistics", False) else {}
    return Output(*network.run(batch.inputs, batch.labels, batch.hidden_state, batch.dropout_seeds, **shared))
