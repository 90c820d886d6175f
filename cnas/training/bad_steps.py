"""Find steps with a loss or gradient that is not finite or explodes, revert them, go back after several in a row.

A step is bad where its mean loss or the norm of its gradient is not finite, or its mean loss is more than `ABOVE` nats
above that of guessing evenly. It updates nothing, and the next one starts from hidden state zero. After a few of them
in a row the loop goes back to the start of the epoch with half the learning rate. The host asks for the verdicts at
steps whose numbers do not depend on when a run was started or saved, so a resumed run goes back where the uninterrupted
one does.

Nobody waits for a verdict: what a step may change is copied before it, and afterwards each tensor is chosen from before
and after by a 0/1 tensor on its device (`Undo`). A good step keeps its bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

ABOVE = 5.0
"""So many nats above ln(classes) the mean loss of a step may be."""
READ_EVERY = 16
"""The host asks for the verdicts at every step whose number is a multiple of this, and at the end of an epoch."""
TRIES = 5
"""So often in a row a loop goes back on account of one epoch; then nothing helps, and the run ends."""

COUNTS = ("bad_steps", "recoveries", "left_out")
Loss = list[tuple[Tensor, float]]
"""The mean losses of the parts of a global batch, scalars on the device, each with its share of the rows."""
Pairs = list[tuple[Tensor, Tensor]]
"""(a tensor, what it was)."""


def worst_loss(outcomes: int | None) -> float:
    """The largest mean loss of a good step.

    Args:
        outcomes: words or classes one is predicted of; None bounds nothing but asks for a finite loss.

    Example:
        >>> round(worst_loss(10_000), 2)
        14.21
    """
    return torch.finfo(torch.float32).max if outcomes is None else math.log(outcomes) + ABOVE


def verdict(loss: Loss, norm: Tensor, worst: float) -> Tensor:
    """Whether a step is good, as a bool scalar on its device.

    Args:
        loss: of the global batch.
        norm: of its gradient.
        worst: the largest mean loss of a good step.
    """
    mean = sum((part * share for part, share in loss[1:]), loss[0][0] * loss[0][1])
    return (mean.abs() <= worst) & (norm < math.inf)


@dataclass(frozen=True)
class Trouble:
    """What a loop has been through; a part of its state that going back does not undo.

    Args:
        bad_steps: how many, those of abandoned attempts among them.
        recoveries: how often the loop went back.
        left_out: architecture steps and scores of candidates that were not finite, and did not count.
        reported: the three, as the rows of ``metrics.jsonl`` have them so far.
        good: good steps of this epoch.
        run: bad steps in a row, up to now.
        arch_run: architecture steps left out in a row, up to now.
        longest: the longest such row since the host has last judged.
        factor: of the learning rate.
        tries: how often the loop went back since an epoch beyond ``failed`` was reached.
        failed: the latest epoch that was given up, from 0.
        starts: the steps of the checkpoints in which the epoch before and this one start.
    """

    bad_steps: int = 0
    recoveries: int = 0
    left_out: int = 0
    reported: tuple[int, ...] = (0, 0, 0)
    good: int = 0
    run: int = 0
    arch_run: int = 0
    longest: int = 0
    factor: float = 1.0
    tries: int = 0
    failed: int = -1
    starts: tuple[int, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """What results say of it, all epochs together."""
        return {name: getattr(self, name) for name in COUNTS}

    @property
    def news(self) -> dict[str, int]:
        """What the next row says of it."""
        return {
            name: count - reported for (name, count), reported in zip(self.counts.items(), self.reported, strict=True)
        }

    def after_step(self, good: bool) -> Trouble:
        """With the verdict on one more step."""
        if good:
            return replace(self, good=self.good + 1, run=0)
        run = self.run + 1
        return replace(self, bad_steps=self.bad_steps + 1, run=run, longest=max(self.longest, run))

    def after_arch_step(self, good: bool) -> Trouble:
        """With one more architecture step."""
        if good:
            return self if not self.arch_run else replace(self, arch_run=0)
        run = self.arch_run + 1
        return replace(self, left_out=self.left_out + 1, arch_run=run, longest=max(self.longest, run))

    def without(self, scores: int) -> Trouble:
        """With so many more scores that were not finite."""
        return replace(self, left_out=self.left_out + scores) if scores else self

    def checked(self) -> Trouble:
        """Once the host has seen `longest`."""
        return replace(self, longest=max(self.run, self.arch_run))

    def epoch_done(self, epoch: int, step: int) -> Trouble:
        """At the start of the epoch after ``epoch``, which is saved under ``step``."""
        tries = 0 if epoch >= self.failed else self.tries
        reported = tuple(self.counts.values())
        return replace(self, reported=reported, good=0, tries=tries, starts=(*self.starts[-1:], step))

    @property
    def back_to(self) -> int:
        """Which of `starts` to go back to: an epoch without a good step owes its trouble to the one before."""
        return len(self.starts) - 1 if self.good else 0

    def gone_back(self, epoch: int, step: int, reported: tuple[int, ...]) -> Trouble:
        """After `back_to` was gone back to.

        Args:
            epoch: that was given up.
            step: under which the state is saved now.
            reported: of the state gone back to, whose rows alone stay.
        """
        return Trouble(
            bad_steps=self.bad_steps,
            recoveries=self.recoveries + 1,
            left_out=self.left_out,
            reported=reported,
            factor=self.factor / 2,
            tries=self.tries + 1,
            failed=max(self.failed, epoch),
            starts=(*self.starts[: self.back_to], step),
        )


class Undo:
    """Keeps copies, in memory that is used again in every step.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.tensor([torch.nan, 1.0])
        >>> Undo().step(torch.optim.SGD([weight], lr=0.5), [weight], good=torch.tensor(False))
        >>> weight.tolist()
        [1.0, 1.0]
    """

    def __init__(self) -> None:
        self._spare: dict[Tensor, Tensor] = {}
        self._optimizer: Any = None

    @torch.no_grad()
    def keep(self, tensors: Sequence[Tensor]) -> Pairs:
        """Copy ``tensors``, for `restore`."""
        for tensor in tensors:
            if tensor not in self._spare:
                self._spare[tensor] = torch.empty_like(tensor)
        pairs = [(tensor, self._spare[tensor]) for tensor in tensors]
        if pairs:
            torch._foreach_copy_([before for _, before in pairs], list(tensors))
        return pairs

    @staticmethod
    @torch.no_grad()
    def restore(pairs: Pairs, good: Tensor) -> None:
        """Where ``good`` is false, make every tensor what it was."""
        for tensor, before in pairs:
            # Some optimisers count their steps in host memory, whatever the device: only these wait for the verdict.
            verdict = good if tensor.device == good.device else good.to(tensor.device)
            torch.where(verdict, tensor, before, out=tensor)

    def step(self, optimizer: Any, parameters: Sequence[Tensor], good: Tensor) -> None:
        """One step of ``optimizer`` on ``parameters``, of which weights and the optimiser's state keep the good ones.

        Args:
            optimizer: of torch, or one that Accelerate has prepared.
            parameters: those that have a gradient.
            good: bool, a scalar on the device of the parameters.
        """
        if optimizer is not self._optimizer:
            self._spare, self._optimizer = {}, optimizer
        state = optimizer.state
        fresh = [parameter for parameter in parameters if not state.get(parameter)]
        values = (value for parameter in parameters for value in state.get(parameter, {}).values())
        pairs = self.keep([*parameters, *(value for value in values if isinstance(value, Tensor))])
        optimizer.step()
        self.restore(pairs, good)
        # What the step has made has no before. That comes once for every parameter, so here the host may ask.
        made = [parameter for parameter in fresh if state.get(parameter)]
        if made and not bool(good):
            for parameter in made:
                del state[parameter]


class StepGuard:
    """Lets a good step through, undoes a bad one, and keeps count; verdicts stay on the device until `read_verdicts`.

    Args:
        model: the network that is trained, on its device; what it says of its ``outcomes`` bounds the loss.
        in_a_row: so many bad steps in a row are too many.

    Attributes:
        trouble: up to the last `read_verdicts`.
    """

    def __init__(self, model: nn.Module, in_a_row: int) -> None:
        self.in_a_row, self.trouble = in_a_row, Trouble()
        self._worst = worst_loss(getattr(model, "outcomes", None))
        self._buffers = [*model.buffers()]
        self.reset(self.trouble)

    def reset(self, trouble: Trouble) -> None:
        """Go on from there, with weights and an optimiser's state that are others."""
        self.trouble, self._undo = trouble, Undo()
        self._unread: list[tuple[Loss, Tensor]] = []

    def before(self) -> Pairs:
        """What the forward passes of a step may move, the network's statistics, as it is before them."""
        return self._undo.keep(self._buffers)

    def step(self, optimizer: Any, parameters: Sequence[Tensor], loss: Loss, norm: Tensor, before: Pairs) -> Tensor:
        """The optimiser's step where it is a good one; whether it is, a bool scalar on the device."""
        good = verdict(loss, norm, self._worst)
        self._undo.step(optimizer, parameters, good)
        self._undo.restore(before, good)
        self._unread.append((loss, good))
        return good

    def read_verdicts(self, total: float) -> float:
        """Ask the device how the steps since the last look went; ``total`` plus the losses of the good ones."""
        if not self._unread:
            return total
        verdicts = torch.stack([good for _, good in self._unread]).tolist()
        means = iter(torch.stack([part for loss, _ in self._unread for part, _ in loss]).tolist())
        for (loss, _), good in zip(self._unread, verdicts, strict=True):
            # Added one by one: Python's own sum rounds otherwise.
            mean = 0.0
            for _, share in loss:
                mean += next(means) * share
            total = total + mean if good else total
            self.trouble = self.trouble.after_step(good)
        self._unread = []
        return total

    def check(self, *, ends: bool) -> str:
        """Why the epoch is to be given up, after a look; empty where it is not.

        Args:
            ends: whether this was the last step of the epoch, which must have had a good one.
        """
        longest, self.trouble = self.trouble.longest, self.trouble.checked()
        gives_up = longest >= self.in_a_row or (ends and not self.trouble.good)
        return f"{longest} bad steps in a row" if gives_up else ""
