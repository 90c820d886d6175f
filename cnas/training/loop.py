"""One small loop on Accelerate: steps, progress, checkpoints, resume, trackers.

A subclass says what a step is and what happens after an epoch; `SearchLoop` and `Retrainer` are the two. Draws
are functions of (seed, purpose, step), see `cnas.random`, so the place of a run is a handful of numbers.

Legend: B rows of the global batch, b rows of one process or part, H hidden units.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cnas.data.base import OrderedBatches
from cnas.errors import NonFiniteError, Stopped
from cnas.training.arguments import LoopArguments
from cnas.training.bad_steps import READ_EVERY, TRIES, Loss, StepGuard, Trouble
from cnas.training.batch import Part, cut, fetch, mean
from cnas.training.context import RunContext
from cnas.training.optimizers import make_optimizer, set_learning_rate
from cnas.training.progress import EpochLog, TrainingProgress
from cnas.training.saving import PhaseCheckpoints
from cnas.training.schedules import learning_rate
from cnas.types import Batch, Output


class AccelerateLoop(ABC):
    """Epochs of optimiser steps over ordered batches, saved so that a resumed run is the uninterrupted one.

    Args:
        model: the network whose parameters are trained; moved to the accelerator's device.
        batches: the training data.
        config: sizes of the loop.
        context: what the loops of a run share.
    """

    phase: ClassVar[str]
    restarted: ClassVar[dict[str, Any]] = {}
    """The parts of a state that begin anew where an epoch is done again."""

    def __init__(self, model: nn.Module, batches: OrderedBatches, config: LoopArguments, context: RunContext) -> None:
        self.context, self.config, self.batches = context, config, batches
        self.accelerator, self.processes = context.accelerator, context.processes
        config.check_processes(self.processes.world)
        self.model = model.to(context.device)
        self.optimizer = self.make_optimizer()
        self.progress = TrainingProgress()
        self.guard = StepGuard(self.model, config.bad_steps_in_a_row)
        self.checkpoints = PhaseCheckpoints(context, self.phase, config.save_total_limit)
        self.hidden_state: Tensor | None = None  # [b, H], what the last batch left
        self.log = EpochLog(context, self.phase, config.num_train_epochs)
        self._clock = time.perf_counter()  # until when the seconds of the progress count

    @abstractmethod
    def train_step(self, index: int) -> bool:
        """Everything that is done with batch ``index``; returns what `weight_step` returns."""

    @abstractmethod
    def finish_epoch(self) -> dict[str, Any]:
        """What follows an epoch's steps; returns what its row of ``metrics.jsonl`` says besides the training loss."""

    def make_optimizer(self) -> Any:
        """The optimiser of the weights, prepared."""
        return self.accelerator.prepare(make_optimizer(self.model.parameters(), self.config))

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs, in global order; subclasses add to it."""
        scaler, hidden_state = self.accelerator.scaler, self.hidden_state
        self._read_verdicts()
        if hidden_state is not None:
            # It belongs to streams, of which every batch has one row each.
            hidden_state = self.processes.gather_rows(hidden_state, self.batches.batch_size)
        return {
            "position": asdict(self.progress),
            "trouble": asdict(self.guard.trouble),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "carry": hidden_state,
            "scaler": None if scaler is None else scaler.state_dict(),
            "rows": self.log.rows,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.progress = TrainingProgress(**state["position"])
        # Checkpoints of earlier versions know of no bad steps.
        self.guard.reset(Trouble(**state.get("trouble", {"good": self.progress.batch})))
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.hidden_state = self.processes.local_rows(state["carry"], self.batches.batch_size)
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def run(self) -> None:
        """Train to the last epoch, from wherever `progress` is.

        Raises:
            Stopped: a signal asked for it; the state is saved.
            NonFiniteError: too many steps are bad, and going back does not help; the last checkpoint is kept.
            StorageError: a checkpoint could not be written; the one before is kept.
            ProcessGroupError: the processes have lost one another, or hold different numbers.
        """
        self._clock = time.perf_counter()
        while self.progress.epoch < self.config.num_train_epochs:
            start = time.perf_counter()
            try:
                self._run_steps()
                with self.located():
                    row = self._training_row() | self.finish_epoch() | self.guard.trouble.news
            except NonFiniteError as problem:
                self._go_back(problem)
                continue
            spent, total, place = time.perf_counter() - start, self.count_time(), self.progress
            self.log.record(row | {"epoch_seconds": spent, "total_seconds": total}, place.step)
            self.guard.trouble = self.guard.trouble.epoch_done(place.epoch, place.step)
            self.progress = replace(self.progress, epoch=place.epoch + 1, batch=0, loss_sum=0.0)
            self.hidden_state = None
            self.save()

    def _training_row(self) -> dict[str, Any]:
        self._read_verdicts()
        place = self.progress
        loss = place.loss_sum / max(self.guard.trouble.good, 1)
        return {"phase": self.phase, "epoch": place.epoch + 1, "step": place.step, "train_loss": loss}

    def count_time(self) -> float:
        """Bring the seconds of `progress` up to now; returns them."""
        now = time.perf_counter()
        self.progress = replace(self.progress, seconds=self.progress.seconds + now - self._clock)
        self._clock = now
        return self.progress.seconds

    def _run_steps(self) -> None:
        trouble, place = self.guard.trouble, self.progress
        if not trouble.starts and place.batch == 0:
            # At the very beginning too there is a state to go back to.
            self.guard.trouble = replace(trouble, starts=(place.step,))
            self.save()
        self.batches = self.batches.at_epoch(place.epoch)
        total = len(self.batches)
        with self.log.bar(place.epoch, place.batch, total) as bar:
            for index in range(place.batch, total):
                with self.located():
                    stop = self.train_step(index)
                bar.update()
                self.progress = replace(self.progress, batch=index + 1, step=self.progress.step + 1)
                if self.progress.step % READ_EVERY == 0 or index + 1 == total:
                    self._check_steps()
                if stop:
                    self.stop_here()
                elif self._due(self.config.save_steps) and index + 1 < total:
                    self.save()
                elif self._due(self.context.check_ranks):
                    self.checkpoints.compare(self.state(), self.progress.step)

    def _due(self, every: int | None) -> bool:
        return every is not None and self.progress.step % every == 0

    def stop_here(self) -> None:
        """Save and leave.

        Raises:
            Stopped: always.
        """
        self.save()
        raise self.stopped()

    def stopped(self) -> Stopped:
        """The error that says that the run was asked to stop, where, and how to go on."""
        reason = self.context.stop.reason or "another process"
        return Stopped(f"stopped by {reason} at step {self.progress.step} of the {self.phase}; go on with --resume")

    @contextmanager
    def located(self, kept: str = "") -> Iterator[None]:
        """Add where it happened to a `NonFiniteError` from a part that knows no steps."""
        try:
            yield
        except NonFiniteError as problem:
            raise NonFiniteError(f"{problem}, at step {self.progress.step} of the {self.phase}{kept}") from problem

    def fetch(self, index: int) -> Batch:
        """This process's rows of training batch ``index``, with their hidden state and the step's dropout masks."""
        return fetch(self.batches, index, self.context, self.hidden_state, f"{self.phase}/dropout", self.progress.step)

    def in_parts(self, batch: Batch, weights: Callable[[Tensor], Tensor] | None = None) -> list[Part]:
        """The batch in parts of at most ``micro_batch_size`` rows.

        Args:
            batch: rows of this process.
            weights: the curriculum's v of unit ids; None where there is no curriculum.
        """
        most = self.config.micro_batch_size
        return cut(batch, 1 if most is None else math.ceil(len(batch.labels) / most), weights)

    def weight_step(self, index: int, parts: Sequence[Part], forward: Callable[[Batch], Output]) -> bool:
        """One update of the weights, where the step is no bad one.

        Args:
            index: of the batch.
            parts: of the batch, those of this process.
            forward: runs the network.

        Returns:
            Whether any process was asked to stop.
        """
        self.optimizer.zero_grad()
        before, loss, hidden_states = self.guard.before(), [], []
        for part in parts:
            with self.context.autocast():
                output = forward(part.batch)
            self.accelerator.backward((part.mean_loss(output) + output.penalty) * part.share)
            loss.append((mean(output.losses.detach()), part.share))
            hidden_states.append(output.hidden_state)
        loss, stop = self._global_loss(loss)
        set_learning_rate(self.optimizer, self.learning_rate(index))
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        good = self.guard.step(self.optimizer, parameters, loss, self._clip(parameters), before)
        left = [hidden_state.detach() for hidden_state in hidden_states if hidden_state is not None]
        if left:
            self.hidden_state = torch.cat(left).masked_fill(~good, 0)
        return stop

    def _global_loss(self, loss: Loss) -> tuple[Loss, bool]:
        """The global batch's loss from every process's parts of it, and whether any process was asked to stop."""
        stop = self.context.stop.reason is not None
        if self.processes.world == 1:
            return loss, stop
        parts = [part.double() * share for part, share in loss]
        total, stops = self.processes.sum(torch.stack([sum(parts[1:], parts[0]), parts[0].new_tensor(float(stop))]))
        return [(total, 1.0)], bool(stops)

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

    def _read_verdicts(self) -> None:
        """Ask the device how the last steps went."""
        self.progress = replace(self.progress, loss_sum=self.guard.read_verdicts(self.progress.loss_sum))

    def _check_steps(self) -> None:
        """Look, and give the epoch up where too many steps in a row were bad, or all of them."""
        self._read_verdicts()
        place = self.progress
        if why := self.guard.check(ends=place.batch == len(self.batches)):
            raise NonFiniteError(f"{why} up to step {place.step} of the {self.phase}")

    def _go_back(self, problem: NonFiniteError) -> None:
        """Go on from the start of the epoch, or of the one before, with half the learning rate.

        Steps are counted on: the state is saved under the newest number and draws differ from those of the attempt that
        is given up. It is saved before anything is changed here, so that a run that is killed meanwhile does the same.

        Raises:
            NonFiniteError: that was tried too often.
        """
        self._read_verdicts()
        trouble, place = self.guard.trouble, self.progress
        if trouble.tries == TRIES or not trouble.starts:
            tried = f"; going back {trouble.tries} times, each with half the learning rate, did not help"
            raise NonFiniteError(f"{problem}{tried if trouble.tries else ''}{self.advice}") from problem
        state = self.checkpoints.load(trouble.starts[trouble.back_to])
        now = trouble.gone_back(place.epoch, place.step, tuple(state["trouble"]["reported"]))
        state |= {"trouble": asdict(now)} | self.restarted
        state["position"] |= {"step": place.step, "seconds": self.count_time()}
        self.checkpoints.write(state)
        self.load_state(state)
        self.log.truncate(state["rows"])
        self.context.log(
            f"warning: {problem}; back to the start of epoch {self.progress.epoch + 1}, "
            f"learning rate times {now.factor:g}"
        )

    @property
    def advice(self) -> str:
        """What to do where nothing helps, and which checkpoint there is."""
        return f"; lower learning_rate or max_grad_norm ({self.checkpoints.kept})"

    def save(self) -> None:
        """Write a checkpoint, see `PhaseCheckpoints.write`."""
        self.count_time()
        self.checkpoints.write(self.state())

    def restore(self) -> bool:
        """Load the newest whole checkpoint to look at it; nothing is written. False where there is none."""
        state = self.checkpoints.load_newest()
        if state is not None:
            self.load_state(state)
        return state is not None

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint, see `PhaseCheckpoints.load_newest`; False where there is none yet.

        Rows of ``metrics.jsonl`` that it does not count are cut off.
        """
        state = self.checkpoints.load_newest()
        if state is None:
            self.log.forget()
            return False
        self.load_state(state)
        self.log.truncate(state["rows"])
        self.context.log(f"resumed from step {self.progress.step} of the {self.phase}")
        return True
