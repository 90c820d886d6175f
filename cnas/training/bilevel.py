"""The data and the gradients of an architecture step (Eq. 3 of the paper; Liu et al. 2019, section 2.3).

An architecture step goes with one weight step: it sees the same training batch, from the same carry and with the same
dropout masks, and a validation batch of its own stream.

Legend: B rows of the global batch, b rows of this process, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from cnas.algorithms.base import StepContext
from cnas.data.base import OrderedBatches
from cnas.errors import NonFiniteError
from cnas.random import DropoutSeeds, generator
from cnas.spaces.base import SuperNet
from cnas.training.context import RunContext
from cnas.training.distributed import ProcessGroup
from cnas.training.loop import mean, to_device
from cnas.training.loop_config import LoopConfig
from cnas.types import Batch, Output, Routing


class GradientOverflowError(Exception):
    """A gradient that was scaled for fp16 overflowed; the step is left out, as a weight step would be."""


@dataclass(frozen=True)
class Part:
    """One of the parts in which this process works through its rows of a global batch."""

    batch: Batch
    share: float  # of the global batch's rows
    v: Tensor | None = None  # the curriculum's weights, shape of the labels


class ValidationStream:
    """The validation batches of architecture steps: in order, and after the last one those of the next epoch.

    Args:
        batches: validation batches.
        context: accelerator and seed.
    """

    def __init__(self, batches: OrderedBatches, context: RunContext) -> None:
        self.batches, self.context, self.processes = batches, context, ProcessGroup(context.accelerator)
        self.hidden_state: Tensor | None = None  # [b, H], what the last batch handed on
        self._turn, self._batches = 0, batches.at_epoch(0)

    def part(self, step: int) -> Part:
        """This process's rows of the batch that belongs to ``step``."""
        turn, index = divmod(step, len(self.batches))
        if turn != self._turn:
            # Entering an epoch draws its order and its views: once, not in every step.
            self._turn, self._batches = turn, self.batches.at_epoch(turn)
        batches = self._batches
        total = batches.rows(index)
        rows = self.processes.rows(total)
        dropout_seeds = DropoutSeeds(self.context.seed, "arch/dropout", step, rows, total)
        batch = to_device(batches.batch(index, rows), self.context.accelerator.device)
        hidden_state = self.hidden_state if index else None
        return Part(
            replace(
                batch,
                hidden_state=hidden_state,
                dropout_seeds=dropout_seeds,
                all_reduce_sum=self.processes.all_reduce_sum,
            ),
            (rows.stop - rows.start) / total,
        )

    def keep(self, output: Output) -> None:
        """Remember the carry for the batch that follows."""
        self.hidden_state = None if output.hidden_state is None else output.hidden_state.detach()

    def state(self) -> Tensor | None:
        """The carry in global order, [B, H]."""
        return (
            None
            if self.hidden_state is None
            else self.processes.gather_rows(self.hidden_state, self.batches.batch_size)
        )

    def load_state(self, hidden_state: Tensor | None) -> None:
        """The inverse of `state`."""
        rows = self.processes.rows(self.batches.batch_size)
        self.hidden_state = None if hidden_state is None else hidden_state[rows].to(self.context.accelerator.device)


class Bilevel:
    """Lends an algorithm gradients of the supernet.

    Args:
        supernet: the shared weights.
        config: of the weight step.
        context: accelerator and seed.
    """

    def __init__(self, supernet: SuperNet, config: LoopConfig, context: RunContext) -> None:
        self.supernet, self.config, self.context = supernet, config, context
        self.accelerator, self.processes = context.accelerator, ProcessGroup(context.accelerator)

    def step_context(
        self, step: int, train: Sequence[Part], stream: ValidationStream, learning_rate: float, optimizer: Any = None
    ) -> StepContext:
        """What `SearchAlgorithm.arch_step` gets.

        Args:
            step: of the weights, from 0.
            train: this process's rows of the weight step's batch.
            stream: where the validation batch comes from.
            learning_rate: of the weight step.
            optimizer: of the weights; where it has momentum, the algorithm is told.
        """
        return StepContext(
            step=step,
            generator=lambda name, *counters: generator(self.context.seed, f"arch/{name}", step, *counters),
            train=partial(self.gradients, train, lambda _: None),
            valid=partial(self.gradients, [stream.part(step)], stream.keep),
            weights=self._constants(),
            learning_rate=learning_rate,
            weight_decay=self.config.weight_decay,
            clip_norm=math.inf if self.config.clip_norm is None else self.config.clip_norm,
            momentum=self._momentum(optimizer),
        )

    def gradients(
        self,
        parts: Sequence[Part],
        seen: Callable[[Output], None],
        routing: Routing,
        inputs: Sequence[Tensor],
        *,
        weights: Mapping[str, Tensor] | None = None,
        weighted: bool = False,
    ) -> list[Tensor]:
        """See `cnas.algorithms.base.Gradients`.

        A pass with ``weights`` leaves no trace: running averages move with the supernet's own weights alone.

        Raises:
            NonFiniteError: a gradient is NaN or infinite.
            GradientOverflowError: the same, where gradients are scaled for fp16.
        """
        tensors = self._constants() if weights is None else self._copied_buffers() | dict(weights)
        scaler = self.accelerator.scaler
        scale = 1.0 if scaler is None else float(scaler.get_scale())
        totals: list[Tensor] = []
        for part in parts:
            with self.accelerator.autocast():
                output = functional_call(self.supernet, tensors, (part.batch, routing))
            seen(output)
            losses = output.losses if part.v is None or not weighted else output.losses * part.v
            # What a routing does not use has the gradient zero.
            found = torch.autograd.grad(
                mean(losses) * part.share * scale, inputs, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            totals = [a + b for a, b in zip(totals, found, strict=True)] if totals else list(found)
        return self._checked(self._summed(totals), scale)

    def _momentum(self, optimizer: Any) -> dict[str, Tensor]:
        state = {} if optimizer is None or not self.config.momentum else optimizer.state
        buffers = {
            name: state.get(parameter, {}).get("momentum_buffer")
            for name, parameter in self.supernet.named_parameters()
        }
        return {name: buffer * self.config.momentum for name, buffer in buffers.items() if buffer is not None}

    def _constants(self) -> dict[str, Tensor]:
        return {name: parameter.detach() for name, parameter in self.supernet.named_parameters()}

    def _copied_buffers(self) -> dict[str, Tensor]:
        return {name: buffer.clone() for name, buffer in self.supernet.named_buffers()}

    def _summed(self, gradients: list[Tensor]) -> list[Tensor]:
        """The sums over processes, in one flat exchange, in float64."""
        if self.processes.world == 1:
            return gradients
        flat = torch.cat([gradient.flatten().to(self.accelerator.device, torch.float64) for gradient in gradients])
        parts = self.processes.sum(flat).split([gradient.numel() for gradient in gradients])
        return [part.view_as(gradient).to(gradient) for part, gradient in zip(parts, gradients, strict=True)]

    def _checked(self, gradients: list[Tensor], scale: float) -> list[Tensor]:
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            if self.accelerator.scaler is not None:
                raise GradientOverflowError
            raise NonFiniteError("a gradient of the architecture step is NaN or infinite; nothing was updated with it")
        return gradients if scale == 1.0 else [gradient / scale for gradient in gradients]
