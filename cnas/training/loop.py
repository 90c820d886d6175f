"""One small loop on Accelerate: steps, progress, checkpoints, resume, trackers.

A subclass says what a step is and what happens after an epoch; `SearchLoop` and `Retrainer` are the two. Draws
are functions of (seed, purpose, step), see `cnas.random`, so the place of a run is a handful of numbers.

Legend: B rows of the global batch, b rows of one process or part, H hidden units.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, ClassVar

from cnas.curricula import Progress
from cnas.errors import NonFiniteError, Stopped
from cnas.training.bad_steps import READ_EVERY, TRIES, Trouble
from cnas.training.callbacks import Requests
from cnas.training.optimizers import load_optimizer
from cnas.training.progress import TrainingProgress
from cnas.training.weight_step import WeightSteps


class AccelerateLoop(WeightSteps):
    """Epochs of optimiser steps over ordered batches, saved so that a resumed run is the uninterrupted one.

    Args:
        model: the network whose parameters are trained; moved to the accelerator's device.
        batches: the training data.
        config: sizes of the loop.
        context: what the loops of a run share.
        callbacks: called at the events of the loop.
    """

    restarted: ClassVar[dict[str, Any]] = {}
    """The parts of a state that begin anew where an epoch is done again."""

    @abstractmethod
    def train_step(self, index: int) -> Requests:
        """Everything that is done with batch ``index``; returns what `weight_step` returns."""

    @abstractmethod
    def finish_epoch(self) -> dict[str, Any]:
        """What follows an epoch's steps; returns what its row of ``metrics.jsonl`` says besides the training loss."""

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
            "callbacks": self.callbacks.state_dict(),
            "ended": self.ended,
            "recorded": self.context.graphs.active,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.progress = TrainingProgress(**state["position"])
        # Checkpoints of earlier versions know of no bad steps.
        self.guard.reset(Trouble(**state.get("trouble", {"good": self.progress.batch})))
        self.model.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.hidden_state = self.processes.local_rows(state["carry"], self.batches.batch_size)
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if state.get("recorded", recorded := self.context.graphs.active) != recorded:
            now, before = ("on", "off") if recorded else ("off", "on")
            self.context.log(
                f"warning: torch_compile is {now}, and was {before} before: from here on the run agrees with an "
                "uninterrupted one up to rounding, and no more bit for bit"
            )
        if "callbacks" in state:  # since version 0.2
            self.callbacks.load_state_dict(state["callbacks"])
            self.ended = state["ended"]

    def run(self) -> None:
        """Train to the last epoch, or until a callback ends it, from wherever `progress` is.

        Raises:
            Stopped: a signal asked for it; the state is saved.
            NonFiniteError: too many steps are bad, and going back does not help; the last checkpoint is kept.
            StorageError: a checkpoint could not be written; the one before is kept.
            ProcessGroupError: the processes have lost one another, or hold different numbers.
        """
        self._clock = time.perf_counter()
        self.context.graphs.reset(self.config.num_train_epochs * len(self.batches))
        self._call("on_train_begin")
        self.before_first_step()
        while self.progress.epoch < self.config.num_train_epochs and (self.progress.batch or not self.ended):
            before = self.count_time()
            try:
                self._run_steps()
                with self.located():
                    row = self._training_row() | self.finish_epoch() | self.guard.trouble.news
            except NonFiniteError as problem:
                self._go_back(problem)
                continue
            total, place = self.count_time(), self.progress
            self._report(row | {"epoch_seconds": total - before, "total_seconds": total})
            self.guard.trouble = self.guard.trouble.epoch_done(place.epoch, place.step)
            self.progress = replace(self.progress, epoch=place.epoch + 1, batch=0, loss_sum=0.0)
            self.hidden_state = None
            self.save()
        self._call("on_train_end")

    def before_first_step(self) -> None:
        """What comes before the first step: at the very beginning too there is a state to go back to."""
        trouble, place = self.guard.trouble, self.progress
        if not trouble.starts and place.batch == 0:
            self.guard.trouble = replace(trouble, starts=(place.step,))
            self.save()

    def _report(self, row: dict[str, Any]) -> None:
        """Write the row of an epoch and show it to the callbacks; all processes learn whether one ends the training."""
        self.log.append(row)
        self.callbacks.end_epoch(row, self.progress, self.batches, self.optimizer)
        # An epoch's end is saved anyway.
        _, end, _ = self.callbacks.requests(stop=False)
        self.ended |= bool(self.processes.sum_numbers(float(end))[0])

    def _call(self, event: str) -> None:
        self.callbacks.call(event, self.progress, self.batches, self.optimizer)

    def _training_row(self) -> dict[str, Any]:
        self._read_verdicts()
        place = self.progress
        loss = place.loss_sum / max(self.guard.trouble.good, 1)
        return {"phase": self.phase, "epoch": place.epoch + 1, "step": place.step, "train_loss": loss}

    def training_progress(self, batch: int) -> Progress:
        """How far the training is, as curricula know it.

        Args:
            batch: how many batches of the epoch are over.
        """
        place = self.progress
        return Progress(place.epoch, self.config.num_train_epochs, place.step, batch, len(self.batches))

    def count_time(self) -> float:
        """Bring the seconds of `progress` up to now; returns them."""
        now = time.perf_counter()
        self.progress = replace(self.progress, seconds=self.progress.seconds + now - self._clock)
        self._clock = now
        return self.progress.seconds

    def _run_steps(self) -> None:
        place = self.progress
        self.batches = self.batches.at_epoch(place.epoch)
        if place.batch == 0:
            self._call("on_epoch_begin")
        last = place.batch if self.ended else len(self.batches)
        try:
            for index in range(place.batch, last):
                if self._run_step(index):
                    break
        finally:
            self.callbacks.bar.close()

    def _run_step(self, index: int) -> bool:
        """One step, and what follows it; whether the epoch is over."""
        self._call("on_step_begin")
        with self.located():
            asked = self.train_step(index)
        self.progress = replace(self.progress, batch=index + 1, step=self.progress.step + 1)
        self.ended = asked.end
        over = asked.end or index + 1 == len(self.batches)
        if self.progress.step % READ_EVERY == 0 or over:
            self._check_steps(over)
        self._call("on_step_end")
        if asked.stop:
            self.stop_here()
        elif (asked.save or self._due(self.config.save_steps)) and not over:
            self.save()
        elif self._due(self.context.check_ranks):
            self.checkpoints.compare(self.state(), self.progress.step)
        return over

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

    def _read_verdicts(self) -> None:
        """Ask the device how the last steps went."""
        self.progress = replace(self.progress, loss_sum=self.guard.read_verdicts(self.progress.loss_sum))

    def _check_steps(self, ends: bool) -> None:
        """Look, and give the epoch up where too many steps in a row were bad, or all of them."""
        self._read_verdicts()
        place = self.progress
        if why := self.guard.check(ends=ends):
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
        # A process that looked later might find it gone: the main one saves next, and drops what is old.
        self.processes.wait()
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
        self._call("on_save")

    def restore(self) -> bool:
        """Load the newest whole checkpoint to look at it; nothing is written. False where there is none."""
        state = self.checkpoints.load_newest()
        if state is not None:
            # Callbacks are of no concern here: they are neither missed nor set back.
            state.pop("callbacks", None)
            self.load_state(state)
        return state is not None

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint, see `PhaseCheckpoints.load_newest`; False where there is none yet.

        Rows of ``metrics.jsonl`` that it does not count are cut off.
        """
        state = self.checkpoints.load_newest()
        # A process that looked later would find what the main process writes when it starts.
        self.processes.wait()
        if state is None:
            self.log.forget(self.phase)
            return False
        self.load_state(state)
        self.log.truncate(state["rows"])
        self.context.log(f"resumed from step {self.progress.step} of the {self.phase}")
        return True
