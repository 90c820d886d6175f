"""One small loop on Accelerate: steps, progress, checkpoints, resume, trackers.

A subclass says what the loss of a batch is and what happens after an epoch; `CurriculumTrainer` and `Retrainer` are the
two. Draws are functions of (seed, purpose, step), see `cnas.random`, so where a run stands is a handful of numbers.

Legend: B rows of the global batch, b rows of one process or micro-batch, H hidden units.
"""

from __future__ import annotations

import math
import sys
import time
from abc import abstractmethod
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cnas.data.base import OrderedBatches
from cnas.errors import NonFiniteError, Stopped, StorageError
from cnas.random import DropoutSeeds
from cnas.training import checkpoint
from cnas.training.bad_steps import LOOK_EVERY, Loss, StepGuard, Trouble
from cnas.training.context import RunContext
from cnas.training.distributed import ProcessGroup
from cnas.training.equal_ranks import check_equal
from cnas.training.loop_config import LoopConfig
from cnas.training.metrics_log import MetricsLog, read
from cnas.training.progress import describe
from cnas.training.recovery import Recovery
from cnas.types import Batch


@dataclass(frozen=True)
class TrainingProgress:
    """Where a loop stands; the next thing to do is batch ``batch`` of epoch ``epoch``, or the epoch's end."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0


class AccelerateLoop(Recovery):
    """Epochs of optimiser steps over ordered batches, saved so that a resumed run is the uninterrupted one.

    Args:
        model: the network whose parameters are trained; moved to the accelerator's device.
        batches: the training data.
        config: sizes of the loop.
        context: what the loops of a run share.
    """

    phase: ClassVar[str]

    def __init__(self, model: nn.Module, batches: OrderedBatches, config: LoopConfig, context: RunContext) -> None:
        self.context, self.config, self.batches = context, config, batches
        self.accelerator, self.processes = context.accelerator, ProcessGroup(context.accelerator)
        config.check_processes(self.processes.world)
        self.model = model.to(self.accelerator.device)
        self.optimizer = self.make_optimizer()
        self.progress = TrainingProgress()
        self.guard = StepGuard(self.model, config.bad_steps_in_a_row)
        self.hidden_state: Tensor | None = None
        self.log = MetricsLog(context.folder / "metrics.jsonl") if self.accelerator.is_main_process else None
        self._saved_step: int | None = None
        self._clock = time.perf_counter()  # until when the position's seconds count

    # What a subclass says -------------------------------------------------------------------------------------------

    @abstractmethod
    def batch_losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """(weighted losses, plain losses, penalty, carry): unreduced [b, ...] twice, a scalar, [b, H] or None."""

    @abstractmethod
    def finish_epoch(self) -> dict[str, Any]:
        """What follows an epoch's steps; returns what its row of ``metrics.jsonl`` says besides the training loss."""

    def begin_step(self, index: int) -> None:
        """Called before batch ``index``, with `progress` at it."""

    def end_step(self, index: int) -> None:
        """Called after batch ``index``, with `progress` still at it."""

    def make_optimizer(self) -> Any:
        """The optimiser of the weights, prepared."""
        config = self.config
        sgd = torch.optim.SGD(
            self.model.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )
        return self.accelerator.prepare(sgd)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs, in global order; subclasses add to it."""
        scaler = self.accelerator.scaler
        self._look()
        # What is carried belongs to streams, of which every batch has one row each.
        hidden_state = (
            None
            if self.hidden_state is None
            else self.processes.gather_rows(self.hidden_state, self.batches.batch_size)
        )
        return {
            "position": asdict(self.progress),
            "trouble": asdict(self.guard.trouble),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "carry": hidden_state,
            "scaler": None if scaler is None else scaler.state_dict(),
            "rows": 0 if self.log is None else self.log.rows,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.progress = TrainingProgress(**state["position"])
        # Checkpoints of earlier versions know of no bad steps.
        self.guard.reset(Trouble(**state.get("trouble", {"good": self.progress.batch})))
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        hidden_state = state["carry"]
        if hidden_state is not None:
            hidden_state = hidden_state[self.processes.rows(self.batches.batch_size)].to(self.accelerator.device)
        self.hidden_state = hidden_state
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.log is not None:
            self.log.truncate(state["rows"])

    # The loop ---------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last epoch, from wherever `progress` is.

        Raises:
            Stopped: a signal asked for it; the state is saved.
            NonFiniteError: too many steps are bad, and going back does not help; the last checkpoint is kept.
            StorageError: a checkpoint could not be written; the one before is kept.
            ProcessGroupError: the processes have lost one another, or hold different numbers.
        """
        self._clock = time.perf_counter()
        while self.progress.epoch < self.config.epochs:
            start = time.perf_counter()
            try:
                self._begin_epoch()
                self._run_steps()
                with self.located():
                    row = self._row() | self.finish_epoch() | self.guard.trouble.news
            except NonFiniteError as problem:
                self._go_back(problem)
                continue
            spent, total = time.perf_counter() - start, self.count_time()
            self._record(row | {"epoch_seconds": spent, "total_seconds": total})
            self._start_epoch(self.progress.epoch + 1)
            self.save()

    def count_time(self) -> float:
        """Bring the seconds of `progress` up to now; returns them."""
        now = time.perf_counter()
        self.progress = replace(self.progress, seconds=self.progress.seconds + now - self._clock)
        self._clock = now
        return self.progress.seconds

    def _run_steps(self) -> None:
        self.batches = self.batches.at_epoch(self.progress.epoch)
        total = len(self.batches)
        with self._progress(total) as bar:
            for index in range(self.progress.batch, total):
                with self.located():
                    self.begin_step(index)
                stop = self._step(index)
                with self.located():
                    self.end_step(index)
                bar.update()
                place = self.progress
                self.progress = replace(place, batch=index + 1, step=place.step + 1)
                if self.progress.step % LOOK_EVERY == 0 or index + 1 == total:
                    self._check_steps()
                if stop:
                    self.stop_here()
                elif self._due(self.config.checkpoint_steps) and index + 1 < total:
                    self.save()
                elif self._due(self.context.check_ranks):
                    self._check_ranks(self.state())

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
        """What tells that the run was asked to stop, where, and how to go on."""
        reason = self.context.stop.reason or "another process"
        return Stopped(f"stopped by {reason} at step {self.progress.step} of the {self.phase}; go on with --resume")

    def _step(self, index: int) -> bool:
        """One update, where the step is no bad one; returns whether any process was asked to stop."""
        self.optimizer.zero_grad()
        losses_seen: Loss = []
        hidden_states, total = [], self.batches.rows(index)
        self.guard.begin()
        for batch, rows in self._micro_batches(index):
            with self.accelerator.autocast():
                weighted, losses, penalty, hidden_state = self.batch_losses(batch)
            share = (rows.stop - rows.start) / total
            self.accelerator.backward((mean(weighted) + penalty) * share)
            losses_seen.append((mean(losses.detach()), share))
            hidden_states.append(hidden_state)
        loss, stop = self._global_loss(losses_seen)
        self._set_learning_rate(self.learning_rate(index))
        good = self._update(loss)
        if hidden_states[0] is not None:
            kept = torch.cat([hidden_state.detach() for hidden_state in hidden_states if hidden_state is not None])
            self.hidden_state = kept.masked_fill(~good, 0)
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
        return (
            self.config.rate(self.progress.epoch) * self.batches.learning_rate_scale(index) * self.guard.trouble.factor
        )

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if group["lr"] != rate:
                group["lr"] = rate
                # Torch's averaged SGD goes by a rate of its own, which it would take from the group a step late.
                for state in self.optimizer.state.values():
                    if "eta" in state:
                        state["eta"].fill_(rate)

    def _update(self, loss: Loss) -> Tensor:
        """Follow the gradient where the step is good; whether it is, a scalar on the device."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        self.processes.sum_gradients(parameters)
        # Not the accelerator's own clipping: it unscales (fp16) the gradients once for every optimiser ever prepared,
        # and averaging brings a second one for the same weights.
        self.accelerator.unscale_gradients(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm or math.inf)
        # A gradient scaler (fp16) skips overflowed steps by itself, and finds its scale by them.
        scaler = self.accelerator.scaler
        overflow = scaler is not None and scaler.get_scale() > 1
        return self.guard.step(self.optimizer, parameters, loss, torch.zeros_like(norm) if overflow else norm)

    def _kept(self) -> str:
        if self._saved_step is None:
            return "; lower learning_rate or clip_norm"
        return f"; lower learning_rate or clip_norm (the checkpoint of step {self._saved_step} is kept)"

    def _micro_batches(self, index: int) -> list[tuple[Batch, slice]]:
        """This process's rows of global batch ``index``, in `accumulation_steps` parts, with carry and noise."""
        own = self.processes.rows(self.batches.rows(index))
        count = own.stop - own.start
        parts = min(self.config.accumulation_steps, max(count, 1))
        slices = [slice(own.start + count * i // parts, own.start + count * (i + 1) // parts) for i in range(parts)]
        return [(self.fetch(self.batches, index, rows), rows) for rows in slices]

    def fetch(self, batches: OrderedBatches, index: int, rows: slice) -> Batch:
        """``rows`` of training batch ``index`` on the device, with this process's carry and the step's noise.

        ``batches`` need not be those of the loop; ``rows`` count in the global batch and are some of this process's.
        """
        return self.placed(batches.batch(index, rows), rows, batches.rows(index))

    def placed(self, batch: Batch, rows: slice, total: int) -> Batch:
        """A batch of ``rows`` among ``total`` on the device, with this process's carry and the step's noise."""
        start = self.processes.rows(total).start
        hidden_state = None if self.hidden_state is None else self.hidden_state[rows.start - start : rows.stop - start]
        dropout_seeds = DropoutSeeds(self.context.seed, f"{self.phase}/dropout", self.progress.step, rows, total)
        return replace(
            to_device(batch, self.accelerator.device),
            hidden_state=hidden_state,
            dropout_seeds=dropout_seeds,
            all_reduce_sum=self.processes.all_reduce_sum,
        )

    def _progress(self, total: int) -> Any:
        quiet = not (self.accelerator.is_main_process and sys.stderr.isatty())
        title = f"{self.phase} {self.progress.epoch + 1}/{self.config.epochs}"
        return tqdm(total=total, initial=self.progress.batch, desc=title, disable=quiet, leave=False)

    # What is kept -------------------------------------------------------------------------------------------------

    def _row(self) -> dict[str, Any]:
        self._look()
        place = self.progress
        mean = place.loss_sum / max(self.guard.trouble.good, 1)
        return {"phase": self.phase, "epoch": place.epoch + 1, "step": place.step, "train_loss": mean}

    def _record(self, row: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.append(row)
        numbers = {f"{self.phase}/{key}": value for key, value in row.items() if is_finite(value)}
        self.accelerator.log(numbers, step=self.progress.step)
        self.context.say(describe(row, self.config.epochs))

    @property
    def checkpoints(self) -> Path:
        """Where this phase's checkpoints are."""
        return self.context.folder / "checkpoints" / self.phase

    def save(self) -> None:
        """Write a checkpoint from the main process; every process learns whether it worked.

        Raises:
            StorageError: the disk refused; older checkpoints are untouched.
        """
        self.count_time()
        self._write(self.state())

    def _write(self, state: dict[str, Any]) -> None:
        problem, step = None, state["position"]["step"]
        pinned = state["trouble"]["starts"]
        if self.context.check_ranks:
            self._check_ranks(state)
        if self.accelerator.is_main_process:
            try:
                stamp, info = self.context.config_hash, {"processes": self.processes.world}
                checkpoint.save(self.checkpoints, step, state, config_hash=stamp, pinned=pinned, info=info)
            except StorageError as error:
                problem = error
        (failed,) = self.processes.sum_numbers(float(problem is not None))
        if failed:
            raise problem or StorageError("the main process could not write a checkpoint")
        self._saved_step = step

    def _check_ranks(self, state: dict[str, Any]) -> None:
        """Before a checkpoint, so that the one that is kept is of a time when all were one."""
        kept = "no checkpoint yet" if self._saved_step is None else f"the checkpoint of step {self._saved_step} is kept"
        check_equal(self.accelerator, state, f"step {self.progress.step} of the {self.phase} ({kept})")

    def resume(self) -> bool:
        """Load the newest whole checkpoint; False where there is none yet.

        Raises:
            CheckpointError: there are checkpoints and none is whole.
            UserError: the newest one belongs to another configuration.
        """
        loaded = checkpoint.load_newest(self.checkpoints, config_hash=self.context.config_hash)
        if loaded is None:
            self._forget_rows()
            return False
        for broken in loaded.broken:
            self.context.say(f"warning: skipped {broken}")
        now = {"threads": torch.get_num_threads(), "processes": self.processes.world}
        for name, count in now.items():
            # Checkpoints of earlier versions do not say how many processes there were.
            if (before := loaded.info.get(name, count)) != count:
                self.context.say(
                    f"warning: saved with {before} {name}, now {count}; sums are taken in another order, and the "
                    "result is no longer the uninterrupted one bit for bit"
                )
        self.load_state(dict(loaded.state))
        self._saved_step = self.progress.step
        self.context.say(f"resumed from step {self.progress.step} of the {self.phase}")
        return True

    def _forget_rows(self) -> None:
        """Drop the rows of an epoch after which a kill came before the first checkpoint."""
        if self.log is not None:
            phases = [row.get("phase") for row in read(self.log.path)]
            self.log.truncate(phases.index(self.phase) if self.phase in phases else len(phases))


def is_finite(value: object) -> bool:
    """Whether it is a number, and neither NaN nor infinite."""
    return isinstance(value, int | float) and math.isfinite(value)


def mean(losses: Tensor) -> Tensor:
    """The mean, and 0 of no losses at all: a process without a row in a batch still takes part in every sum."""
    return losses.mean() if losses.numel() else losses.sum()


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch's tensors on ``device``."""
    return replace(
        batch,
        inputs=batch.inputs.to(device),
        labels=batch.labels.to(device),
        unit_ids=batch.unit_ids.to(device),
    )
