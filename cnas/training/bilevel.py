"""Bilevel optimisation as in DARTS: batches and gradients for the update of α.

An architecture step goes with one weight step: it sees the same training batch, from the same hidden state and with the
same dropout masks, and a validation batch of its own stream.

Legend: B rows of the global batch, b rows of this process, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from cnas.algorithms.base import StepContext
from cnas.data.base import OrderedBatches
from cnas.errors import NonFiniteError
from cnas.spaces.supernet import SuperNet
from cnas.training.arguments import LoopArguments
from cnas.training.batch import Part, cut, fetch, in_host_memory, to_host
from cnas.training.context import RunContext
from cnas.types import Routing


class GradientOverflowError(Exception):
    """A gradient that was scaled for fp16 overflowed; the step is left out, as a weight step would be."""


class Bilevel:
    """Computes the gradients of the supernet that an algorithm asks for.

    Validation batches come in order, and after the last one those of the next epoch.

    Args:
        supernet: the shared weights.
        batches: validation batches.
        config: of the weight step.
        context: of the run.
    """

    def __init__(self, supernet: SuperNet, batches: OrderedBatches, config: LoopArguments, context: RunContext) -> None:
        self.supernet, self.batches, self.config, self.context = supernet, batches, config, context
        self.hidden_state: Tensor | None = None  # [b, H], what the last validation batch left
        self._turn, self._turn_batches = 0, batches.at_epoch(0)

    def step_context(self, step: int, train: Sequence[Part], learning_rate: float, optimizer: Any) -> StepContext:
        """What `SearchAlgorithm.arch_step` gets.

        Args:
            step: of the weights, from 0.
            train: this process's rows of the weight step's batch.
            learning_rate: of the weight step.
            optimizer: of the weights, whose momentum the algorithm may use.
        """
        return StepContext(
            step=step,
            generator=lambda name, *counters: self.context.generator(f"arch/{name}", step, *counters),
            train=partial(self.gradients, train, lambda _: None),
            valid=partial(self.gradients, self.valid_parts(step), self._keep),
            weights=self._constants(),
            learning_rate=learning_rate,
            weight_decay=self.config.weight_decay,
            clip_norm=math.inf if self.config.max_grad_norm is None else self.config.max_grad_norm,
            momentum=partial(self._momentum, optimizer),
            fetch=lambda gradient: self._checked(to_host([gradient]), 1.0)[0],
        )

    def valid_parts(self, step: int) -> list[Part]:
        """This process's rows of the validation batch that belongs to ``step``, in one part."""
        turn, index = divmod(step, len(self.batches))
        if turn != self._turn:
            # Entering an epoch draws its order and its views: once, not in every step.
            self._turn, self._turn_batches = turn, self.batches.at_epoch(turn)
        hidden_state = self.hidden_state if index else None
        return cut(fetch(self._turn_batches, index, self.context, hidden_state, "arch/dropout", step), 1)

    def _keep(self, hidden_state: Tensor | None) -> None:
        self.hidden_state = None if hidden_state is None else hidden_state.detach()

    def state(self) -> Tensor | None:
        """The hidden state in global order, [B, H]."""
        local, processes = self.hidden_state, self.context.processes
        return None if local is None else processes.gather_rows(local, self.batches.batch_size)

    def load_state(self, hidden_state: Tensor | None) -> None:
        """The inverse of `state`."""
        self.hidden_state = self.context.processes.local_rows(hidden_state, self.batches.batch_size)

    def gradients(
        self,
        parts: Sequence[Part],
        seen: Callable[[Tensor | None], None],
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
        if weights is None:
            tensors = self._constants()
        else:
            tensors = {name: buffer.clone() for name, buffer in self.supernet.named_buffers()} | dict(weights)
        scale = self.context.loss_scale
        totals: list[Tensor] = []
        for part in parts:
            asked = (part, routing, inputs, tensors, weighted, scale)
            found, hidden_state = self._recorded(*asked) or self._as_it_is(*asked)
            seen(hidden_state)
            totals = [a + b for a, b in zip(totals, found, strict=True)] if totals else list(found)
        return self._checked(self._summed(totals), scale)

    def _as_it_is(
        self,
        part: Part,
        routing: Routing,
        inputs: Sequence[Tensor],
        tensors: Mapping[str, Tensor],
        weighted: bool,
        scale: float,
    ) -> tuple[Sequence[Tensor], Tensor | None]:
        """The gradients of ``inputs`` on a part, and the hidden state it leaves."""
        with self.context.autocast():
            output = functional_call(self.supernet, dict(tensors), (part.batch, routing))
        loss = part.mean_loss(output, weighted=weighted) * part.share * scale
        # What a routing does not use has the gradient zero.
        found = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True, materialize_grads=True)
        return found, output.hidden_state

    def _recorded(
        self,
        part: Part,
        routing: Routing,
        inputs: Sequence[Tensor],
        tensors: Mapping[str, Tensor],
        weighted: bool,
        scale: float,
    ) -> tuple[Sequence[Tensor], Tensor | None] | None:
        """`_as_it_is` by a recorded step; None where there is none."""
        graphs = self.context.graphs
        recorded = graphs.active and len(part.batch.labels) > 0
        forward = self.supernet.pure(part.batch, routing) if recorded else None
        if forward is None:
            graphs.note_eager()
            return None
        named = {id(tensor): name for name, tensor in tensors.items()}
        own = [named[id(tensor)] for tensor in inputs if id(tensor) in named]
        through = [name for name, tensor in forward.tensors.items() if tensor.requires_grad]
        factor = torch.full((), part.share * scale, dtype=torch.float64, device=self.context.device)
        v = part.v if weighted else None
        buffers = dict(self.supernet.named_buffers())
        found = graphs.gradients(forward, buffers | dict(tensors), factor, wanted=[*own, *through], v=v)
        if found is None:
            return None
        for name, moved in found.buffers.items():
            tensors.get(name, buffers[name]).copy_(moved)
        # The rest of the way, from what the step was given to the algorithm's own numbers, is where these are.
        leaves = [tensor for tensor in inputs if id(tensor) not in named]
        ends, slopes = [forward.tensors[name] for name in through], [found.gradients[name] for name in through]
        slopes = to_host(slopes) if any(map(in_host_memory, ends)) else slopes
        rest = iter(
            torch.autograd.grad(ends, leaves, slopes, retain_graph=True, allow_unused=True, materialize_grads=True)
            if leaves
            else ()
        )
        zeros = torch.zeros_like
        gradients = [
            found.gradients.get(named[id(tensor)], zeros(tensor)) if id(tensor) in named else next(rest)
            for tensor in inputs
        ]
        return gradients, found.hidden_state

    def _momentum(self, optimizer: Any) -> dict[str, Tensor]:
        factor, named = self.config.momentum, self.supernet.named_parameters()
        buffers = {name: optimizer.state.get(weight, {}).get("momentum_buffer") for name, weight in named}
        return {name: buffer * factor for name, buffer in buffers.items() if buffer is not None}

    def _constants(self) -> dict[str, Tensor]:
        return {name: parameter.detach() for name, parameter in self.supernet.named_parameters()}

    def _summed(self, gradients: list[Tensor]) -> Sequence[Tensor]:
        return self.context.processes.sum_all(gradients, torch.float64)

    def _checked(self, gradients: Sequence[Tensor], scale: float) -> list[Tensor]:
        # What is elsewhere is not waited for: it becomes part of a gradient of the architecture, which is looked at.
        if not all(bool(each.isfinite().all()) for each in gradients if in_host_memory(each)):
            if self.context.accelerator.scaler is not None:
                raise GradientOverflowError
            raise NonFiniteError("a gradient of the architecture step is NaN or infinite; nothing was updated with it")
        return [gradient if scale == 1.0 else gradient / scale for gradient in gradients]
