"""The part of a training loop that gives an epoch up and goes back to its start (see `cnas.training.bad_steps`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.errors import NonFiniteError
from cnas.training import checkpoint
from cnas.training.bad_steps import TRIES, StepGuard
from cnas.training.context import RunContext


class Recovery(ABC):
    """What `AccelerateLoop` does about bad steps, between its own; all attributes are the loop's."""

    phase: ClassVar[str]
    context: RunContext
    guard: StepGuard
    batches: OrderedBatches
    progress: Any
    hidden_state: Tensor | None

    @property
    @abstractmethod
    def checkpoints(self) -> Path:
        """Where this phase's checkpoints are."""

    @abstractmethod
    def save(self) -> None:
        """Write a checkpoint of where the loop stands."""

    @abstractmethod
    def _write(self, state: dict[str, Any]) -> None:
        """Write a checkpoint of ``state``."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""

    @abstractmethod
    def count_time(self) -> float:
        """Bring the seconds of `progress` up to now; returns them."""

    @abstractmethod
    def _kept(self) -> str:
        """What to do, and which checkpoint is there."""

    def _begin_epoch(self) -> None:
        """Have a state to go back to, at the very beginning too."""
        trouble, place = self.guard.trouble, self.progress
        if not trouble.starts and place.batch == 0:
            self.guard.trouble = replace(trouble, starts=(place.step,))
            self.save()

    def _start_epoch(self, epoch: int) -> None:
        self.guard.trouble = self.guard.trouble.epoch_done(self.progress.epoch, self.progress.step)
        self.progress = replace(self.progress, epoch=epoch, batch=0, loss_sum=0.0)
        self.hidden_state = None

    def _look(self) -> None:
        """Ask the device how the last steps went."""
        self.progress = replace(self.progress, loss_sum=self.guard.look(self.progress.loss_sum))

    def _check_steps(self) -> None:
        """Look, and give the epoch up where too many steps in a row were bad, or all of them."""
        self._look()
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
        self._look()
        trouble, place = self.guard.trouble, self.progress
        if trouble.tries == TRIES or not trouble.starts:
            tried = f"; going back {trouble.tries} times, each with half the learning rate, did not help"
            raise NonFiniteError(f"{problem}{tried if trouble.tries else ''}{self._kept()}") from problem
        start = trouble.starts[trouble.back_to]
        state = checkpoint.load(self.checkpoints, start, config_hash=self.context.config_hash)
        now = trouble.gone_back(place.epoch, place.step, tuple(state["trouble"]["reported"]))
        state = self.restarted(state) | {"trouble": asdict(now)}
        state["position"] |= {"step": place.step, "seconds": self.count_time()}
        self._write(state)
        self.load_state(state)
        self.context.say(
            f"warning: {problem}; back to the start of epoch {self.progress.epoch + 1}, "
            f"learning rate times {now.factor:g}"
        )

    def restarted(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state of an epoch's start, as one that other steps than those after it will follow."""
        return state

    @contextmanager
    def located(self, kept: str = "") -> Iterator[None]:
        """Tell where it happened when a `NonFiniteError` comes from a part that knows no steps."""
        try:
            yield
        except NonFiniteError as problem:
            raise NonFiniteError(f"{problem}, at step {self.progress.step} of the {self.phase}{kept}") from problem
