"""One update of the weights on one global batch: what every loop does in a step.

Legend: B rows of the global batch, b rows of one process or part, H hidden units.
"""

from __future__ import annotations

import math
import time
from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from cnas.curricula import Curriculum
from cnas.data.base import OrderedBatches
from cnas.spaces.pure import PureForward
from cnas.training.arguments import LoopArguments
from cnas.training.bad_steps import Loss, StepGuard
from cnas.training.batch import Part, cut, fetch, mean, to_host
from cnas.training.callbacks import LoopCallbacks, Requests
from cnas.training.context import RunContext
from cnas.training.metrics_log import MetricsLog
from cnas.training.optimizers import make_optimizer, set_learning_rate
from cnas.training.progress import TrainingProgress
from cnas.training.saving import PhaseCheckpoints
from cnas.training.schedules import learning_rate
from cnas.types import Batch, Output


class Pass(NamedTuple):
    """One way through the network.

    Args:
        forward: runs it.
        pure: the same as a function of tensors, where it is to be had.
    """

    forward: Callable[[Batch], Output]
    pure: Callable[[Batch], PureForward | None]


def run_ahead(passes: Sequence[Pass], batch: Batch, context: RunContext) -> tuple[Tensor, list[Pass]]:
    """Run passes before it is known what their losses are multiplied by.

    Args:
        passes: through a network; all of them are held in memory.
        batch: rows of this process, in one part.
        context: of the run.

    Returns:
        The losses [K, *labels.shape] of all K, without a graph, and passes that give what was found.
    """
    with context.autocast():
        outputs = [each.forward(batch) for each in passes]
    # Without a pure forward: a recorded step would run all of it once more.
    known = [Pass(lambda _, found=output: found, lambda _: None) for output in outputs]  # type: ignore[misc]
    return torch.stack([output.losses.detach() for output in outputs]), known


class WeightSteps(ABC):
    """A network, its optimiser, what is kept of them, and a step; see `AccelerateLoop` for the arguments."""

    phase: ClassVar[str]

    def __init__(
        self,
        model: nn.Module,
        batches: OrderedBatches,
        config: LoopArguments,
        context: RunContext,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self.context, self.config, self.batches = context, config, batches
        self.accelerator, self.processes = context.accelerator, context.processes
        config.check_processes(self.processes.world)
        self.model = model.to(context.device)
        self.optimizer = self.make_optimizer()
        self.progress = TrainingProgress()
        self.guard = StepGuard(self.model, config.bad_steps_in_a_row)
        self.hidden_state: Tensor | None = None  # [b, H], what the last batch left
        self.callbacks = LoopCallbacks(callbacks, config, context, self.phase, model)
        self.checkpoints = PhaseCheckpoints(context, self.phase, config.save_total_limit)
        self.log = MetricsLog(context.folder / "metrics.jsonl" if context.accelerator.is_main_process else None)
        self.ended = False  # whether a callback has asked for the end of the training
        self._clock = time.perf_counter()  # until when the seconds of the progress count

    def make_optimizer(self) -> Any:
        """The optimiser of the weights, prepared."""
        return self.accelerator.prepare(make_optimizer(self.model.parameters(), self.config))

    def fetch(self, index: int) -> Batch:
        """This process's rows of training batch ``index``, with their hidden state and the step's dropout masks."""
        return fetch(self.batches, index, self.context, self.hidden_state, f"{self.phase}/dropout", self.progress.step)

    def in_parts(self, batch: Batch, curriculum: Curriculum | None = None) -> list[Part]:
        """The batch in parts of at most ``micro_batch_size`` rows.

        Args:
            batch: rows of this process.
            curriculum: has the weight v of every unit; None where all count the same.
        """
        most = self.config.micro_batch_size
        weights = None if curriculum is None else curriculum.weights
        return cut(batch, 1 if most is None else math.ceil(len(batch.labels) / most), weights)

    def weight_step(self, index: int, parts: Sequence[Part], passes: Sequence[Pass]) -> Requests:
        """One update of the weights, where the step is no bad one.

        Args:
            index: of the batch.
            parts: of the batch, those of this process.
            passes: what is run on each part; their losses are averaged, and the first one's hidden state goes on.

        Returns:
            What any process was asked for.
        """
        self.optimizer.zero_grad()
        before, loss, hidden_states = self.guard.before(), [], []
        for part in parts:
            shared = replace(part, share=part.share / len(passes))
            ran = [self._recorded(shared, each.pure) or self._as_it_is(shared, each.forward) for each in passes]
            loss += [(mean_loss, shared.share) for mean_loss, _ in ran]
            hidden_states.append(ran[0][1])
        loss, asked = self._global_loss(loss)
        set_learning_rate(self.optimizer, self.learning_rate(index))
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        good = self.guard.step(self.optimizer, parameters, loss, self._clip(parameters), before)
        left = [hidden_state.detach() for hidden_state in hidden_states if hidden_state is not None]
        if left:
            self.hidden_state = torch.cat(left).masked_fill(~good, 0)
        return asked

    def _as_it_is(self, part: Part, forward: Callable[[Batch], Output]) -> tuple[Tensor, Tensor | None]:
        """Add the gradients of a part; its mean loss and the hidden state it leaves."""
        with self.context.autocast():
            output = forward(part.batch)
        self.accelerator.backward((part.mean_loss(output) + output.penalty) * part.share)
        return mean(output.losses.detach()), output.hidden_state

    def _recorded(self, part: Part, pure: Callable[[Batch], PureForward | None]) -> tuple[Tensor, Tensor | None] | None:
        """`_as_it_is` by a recorded step; None where there is none."""
        if not self.context.graphs.active or not len(part.batch.labels):
            return None
        weights, scaler = dict(self.model.named_parameters()), self.accelerator.scaler
        buffers = dict(self.model.named_buffers())
        factor = torch.full((), part.share, dtype=torch.float64, device=self.context.device)
        found = self.context.graphs.gradients(
            pure(part.batch),
            weights | buffers,
            factor if scaler is None else scaler.scale(factor),
            wanted=list(weights),
            v=part.v,
            penalised=True,
        )
        if found is None:
            return None
        for name, moved in found.buffers.items():
            buffers[name].copy_(moved)
        for name, gradient in found.gradients.items():
            before = weights[name].grad
            weights[name].grad = gradient if before is None else before + gradient
        return found.loss, found.hidden_state

    def _global_loss(self, loss: Loss) -> tuple[Loss, Requests]:
        """The global batch's loss from every process's parts of it, and what any process was asked for."""
        asked = self.callbacks.requests(self.context.stop.reason is not None)
        if self.processes.world == 1:
            return loss, asked
        parts = [part.double() * share for part, share in loss]
        sums = self.processes.sum(torch.stack([sum(parts[1:], parts[0]), *map(parts[0].new_tensor, asked)]))
        return [(sums[0], 1.0)], Requests(*map(bool, *to_host([sums[1:]])))

    def learning_rate(self, index: int) -> float:
        """Of the step on batch ``index`` of this epoch."""
        scale = self.batches.learning_rate_scale(index)
        rate = learning_rate(self.config, self.progress.epoch, index, len(self.batches))
        return rate * scale * self.guard.trouble.factor

    def _clip(self, parameters: Sequence[Tensor]) -> Tensor:
        """Sum the gradients over processes and clip them; their norm, a scalar on the device."""
        self.processes.sum_gradients(parameters)
        # Not the accelerator's own clipping: it unscales (fp16) the gradients once for every optimiser ever prepared,
        # and averaging brings a second one for the same weights.
        self.accelerator.unscale_gradients(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm or math.inf)
        # A gradient scaler (fp16) skips overflowed steps by itself, and finds its scale by them.
        return torch.zeros_like(norm) if self.context.loss_scale > 1 else norm
