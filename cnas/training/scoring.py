"""Scoring: the losses of K subnets on data, with inherited weights, without dropout or gradient.

Batches are the global ones, each process on its rows: text in the order of its streams, images in one drawn order
(`cnas.data.base.OrderedBatches.scoring_view`). Scoring consumes no randomness of training.

Legend: K candidates, B rows of the global batch, T tokens, U units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.errors import UserError
from cnas.random import HOST
from cnas.spaces.base import SearchSpace
from cnas.spaces.supernet import SuperNet
from cnas.training.batch import fetch, place, run_network, to_host
from cnas.training.context import RunContext
from cnas.training.evaluate import Predictions
from cnas.types import Architecture, Batch, Routing

SIZES = (1, 5, 10)
"""Recorded passes have one of so many candidates; what is left of them is filled up."""


class Scorer:
    """Runs K architectures of a supernet over ordered batches."""

    def __init__(self, supernet: SuperNet, space: SearchSpace, context: RunContext) -> None:
        self.supernet, self.space, self.context = supernet, space, context

    def batch_losses(
        self, architectures: Sequence[Architecture], batch: Batch, hidden_states: Sequence[Tensor | None], rows: int
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Global losses [K, B, ...] of one batch of ``rows`` global rows, and the local hidden states after it."""
        routings = [self.space.routing(architecture) for architecture in architectures]
        local, hidden_states = self._recorded(batch, routings, hidden_states) or self._as_it_is(
            batch, routings, hidden_states
        )
        return self.context.processes.gather_rows(local, rows, dim=1), hidden_states

    def _as_it_is(
        self, batch: Batch, routings: Sequence[Routing], hidden_states: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor | None]]:
        with self.context.autocast():
            return self.supernet.forward_many(batch, routings, hidden_states)

    def _recorded(
        self, batch: Batch, routings: Sequence[Routing], hidden_states: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor | None]] | None:
        """`_as_it_is` by a recorded pass, where there is one; it has room for one of a few numbers of candidates."""
        graphs, count = self.context.graphs, len(routings)
        if not graphs.active:
            return None
        spare = min((size for size in SIZES if size >= count), default=count) - count
        every, states = [*routings, *[routings[-1]] * spare], [*hidden_states, *[hidden_states[-1]] * spare]
        found = graphs.losses(self.supernet.pure_many(batch, every, states), dict(self.supernet.named_parameters()))
        if found is None:
            return None
        assert found.hidden_state is not None
        return found.losses[:count], list(found.hidden_state[:count])

    def sweep(
        self, architectures: Sequence[Architecture], batches: OrderedBatches, indices: Iterable[int]
    ) -> Iterable[tuple[Tensor, Tensor]]:
        """(losses [K, B, ...], unit ids [B, ...]) of each batch in turn; each candidate has its own hidden state."""
        hidden_states: list[Tensor | None] = [None] * len(architectures)
        for index in indices:
            total, batch = batches.rows(index), fetch(batches, index, self.context)
            losses, hidden_states = self.batch_losses(architectures, batch, hidden_states, total)
            yield losses, self.context.processes.gather_rows(batch.unit_ids, total)

    def units(
        self, architectures: Sequence[Architecture], batches: OrderedBatches, between: Callable[[], None]
    ) -> tuple[Tensor, Tensor]:
        """Mean loss per unit of all data: (unit_ids [U], losses [K, U]); ``between`` is called after each batch."""
        return _of_units(self.sweep(architectures, batches, range(len(batches))), between)

    def validation(
        self, architectures: Sequence[Architecture], batches: OrderedBatches, index: int | None = None
    ) -> Tensor:
        """Mean loss of each architecture, float64 [K], on one batch (counted on past the end) or on all in order."""
        return _mean(losses for losses, _ in self.sweep(architectures, batches, _indices(batches, index)))

    def accuracy(
        self, architectures: Sequence[Architecture], batches: OrderedBatches, index: int | None = None
    ) -> Tensor:
        """The share of right predictions of each architecture, float64 [K], on one batch or on all."""
        routings = [self.space.routing(architecture) for architecture in architectures]

        def correct(at: int) -> Tensor:
            batch = fetch(batches, at, self.context)
            with self.context.autocast():
                outputs = self.supernet.evaluated(batch, routings, [None] * len(routings))
            local = torch.stack([cast(Tensor, output.logits).argmax(-1) == batch.labels for output in outputs])
            return self.context.processes.gather_rows(local.double(), batches.rows(at), dim=1)

        return _mean(correct(at) for at in _indices(batches, index))

    def predictions(self, architecture: Architecture, batches: OrderedBatches, kept: Predictions) -> None:
        """Show all outputs of an architecture to ``kept``; every process runs whole batches, so that all have all.

        Raises:
            UserError: the supernet holds no logits.
        """
        if not self.supernet.classifies:
            raise UserError(
                f"compute_metrics needs logits, which the supernet of {self.space.name} never holds at once; "
                "retrain the architecture first"
            )
        routing, hidden_state, batches = self.space.routing(architecture), None, batches.to(self.context.device)
        for index in range(len(batches)):
            batch = place(batches.batch(index, slice(0, batches.rows(index))), self.context.device)
            with self.context.autocast():
                (output,) = self.supernet.evaluated(batch, [routing], [hidden_state])
            hidden_state = output.hidden_state
            kept.add(batch, output)


def network_units(network: Any, batches: OrderedBatches, context: RunContext) -> tuple[Tensor, Tensor]:
    """Mean loss per unit of a stand-alone network on all data, without dropout: (unit_ids [U], losses [1, U]).

    Args:
        network: a derived network (it has ``run``), on its device.
        batches: global ones; each process runs its rows.
        context: of the run.
    """

    def sweep() -> Iterator[tuple[Tensor, Tensor]]:
        hidden_state = None
        for index in range(len(batches)):
            total, batch = batches.rows(index), fetch(batches, index, context, hidden_state)
            with torch.no_grad(), context.autocast():
                output = run_network(network, batch)
            hidden_state = output.hidden_state
            gathered = [context.processes.gather_rows(each, total) for each in (output.losses, batch.unit_ids)]
            yield gathered[0][None], gathered[1]

    was_training = network.training
    network.eval()
    try:
        return _of_units(sweep(), lambda: None)
    finally:
        network.train(was_training)


def _of_units(swept: Iterable[tuple[Tensor, Tensor]], between: Callable[[], None]) -> tuple[Tensor, Tensor]:
    found = []
    for losses_KBT, unit_ids in swept:
        found.append((losses_KBT, unit_ids))
        between()
    # In host memory, where sums have one order; nobody has waited for the device until here.
    ids, losses = zip(*(unit_means(*to_host(each)) for each in found), strict=True)
    return torch.cat(ids), torch.cat(losses, dim=1)


def _indices(batches: OrderedBatches, index: int | None) -> Sequence[int]:
    return range(len(batches)) if index is None else [index % len(batches)]


def _mean(parts: Iterable[Tensor]) -> Tensor:
    """Means over all but the first axis, float64 in host memory, of parts [K, ...] that may differ in size."""
    total, count = torch.zeros((), dtype=torch.float64, device=HOST), 0
    found = [(part.flatten(1).sum(dim=1), part[0].numel()) for part in parts]
    for (_, numel), sums_K in zip(found, to_host(sums_K for sums_K, _ in found), strict=True):
        total, count = total + sums_K.double(), count + numel
    return total / count


def unit_means(losses: Tensor, unit_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss of each unit of a batch.

    Args:
        losses: [K, *unit_ids.shape].
        unit_ids: which unit each loss belongs to.

    Returns:
        (unit_ids_U ascending, losses_KU in the dtype of ``losses``).

    Example:
        >>> unit_means(torch.tensor([[[1.0, 3.0], [5.0, 7.0]]]), torch.tensor([[4, 4], [2, 2]]))
        (tensor([2, 4]), tensor([[6., 2.]]))
    """
    found, position, counts = torch.unique(unit_ids, return_inverse=True, return_counts=True)
    sums = losses.new_zeros(len(losses), len(found)).index_add_(1, position.flatten(), losses.flatten(1))
    return found, sums / counts.to(losses)
