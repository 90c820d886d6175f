"""What is done with the steps of a loop on a GPU: timed in blocks, counted in kernels, taken as a trajectory.

A plan is a generator that yields once for every step: what it does between two yields happens between two steps. It is
driven by the loop itself, as a callback, so what is timed is all that happens between two updates: drawing, copying,
waiting. The device is waited for at the borders of a block alone.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import TrainerCallback

Plan = Iterator[None]
"""Yields once for every step."""
KERNEL, COPY, RANGE = "kernel", "copy", "range"


class Enough(Exception):  # noqa: N818 - no error: this is how a plan ends a loop
    """A plan has come to its end."""


class Steps(TrainerCallback):
    """Goes through a plan with the steps of a loop.

    Args:
        plan: from this object to the plan.
        device: of the loop.
        instead: what is done with the loop, over and over, in place of its steps; returns how often it did it.

    Attributes:
        loop: that is measured; whoever builds it sets it.
        found: the measurements.
        times: how many of what is measured go to one step of the plan.
    """

    def __init__(
        self, plan: Callable[[Steps], Plan], device: torch.device, instead: Callable[[Any], int] | None = None
    ) -> None:
        self.device, self.times = device, 1
        self.loop: Any = None
        self.found: dict[str, Any] = {}
        self._plan, self._begun, self._instead = plan(self), False, instead

    def begin(self) -> None:
        """Just before the first step."""
        self._begun = True
        next(self._plan)

    def tick(self) -> None:
        """After every step.

        Raises:
            Enough: that was the last one.
        """
        try:
            next(self._plan)
        except StopIteration:
            raise Enough from None

    def repeat(self, work: Callable[[], int]) -> None:
        """Do something again and again.

        Raises:
            Enough: at the end of the plan.
        """
        self.begin()
        while True:
            self.times = work()
            self.tick()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """See `TrainerCallback`; here the loop is ready and has done nothing."""
        if (instead := self._instead) is not None:
            self.repeat(lambda: instead(self.loop))

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """See `TrainerCallback`."""
        if not self._begun:
            self.begin()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """See `TrainerCallback`."""
        self.tick()

    def now(self) -> float:
        """Seconds on a clock, once the device has done all that it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


@dataclass(frozen=True)
class Amount:
    """How much is measured.

    Args:
        warm: steps after the first one that are not timed; they too may be compiled and captured.
        blocks: so many, of which the median counts.
        longest: steps of a block at most.
        seconds: of all blocks; long steps come in shorter blocks, down to a single one.
        trajectory: steps of a trajectory.
        last: so many of these have their mean loss taken.
        together: seconds for which processes share a device.
    """

    warm: int = 4
    blocks: int = 5
    longest: int = 10
    seconds: float = 3.0
    trajectory: int = 200
    last: int = 50
    together: float = 5.0


EAGER = Amount(warm=1, blocks=2, seconds=2.0)
TINY = Amount(warm=1, blocks=2, longest=2, seconds=0.1, trajectory=12, last=4, together=0.3)


def first_steps(amount: Amount) -> Callable[[Steps], Plan]:
    """The seconds of the first step, in which graphs are compiled and captured, and of those that follow it."""

    def plan(steps: Steps) -> Plan:
        start = steps.now()
        yield
        first = steps.now()
        for _ in range(amount.warm):
            yield
        steps.found |= {"first_step_s": first - start, "warm": amount.warm, "warm_s": steps.now() - first}

    return plan


def timing(amount: Amount) -> Callable[[Steps], Plan]:
    """Milliseconds of a step, memory, and on a GPU the kernels of a step."""

    def plan(steps: Steps) -> Plan:
        yield from first_steps(amount)(steps)
        start = steps.now()
        yield
        once = steps.now() - start
        size = max(min(int(amount.seconds / amount.blocks / once), amount.longest // steps.times), 1)
        each = []
        for _ in range(amount.blocks):
            gc.collect()
            start = steps.now()
            for _ in range(size):
                yield
            each.append(1e3 * (steps.now() - start) / (size * steps.times))
        steps.found |= {"ms": statistics.median(each), "ms_each": each, "block": size, **memory(steps.device)}
        if steps.device.type == "cuda":
            steps.now()
            with profile(activities=[ProfilerActivity.CUDA]) as profiled:
                yield
                steps.now()
            steps.found |= {name: number / steps.times for name, number in kernels(profiled).items()}
            steps.found["kernel_share"] = steps.found["kernel_ms"] / steps.found["ms"]

    return plan


def trajectory(amount: Amount) -> Callable[[Steps], Plan]:
    """The mean training loss of the last steps of a trajectory."""

    def total(loop: Any) -> float:
        """The losses of all good steps so far."""
        loop.progress = replace(loop.progress, loss_sum=loop.guard.read_verdicts(loop.progress.loss_sum))
        return float(loop.progress.loss_sum)

    def plan(steps: Steps) -> Plan:
        before, good = 0.0, 0
        for step in range(amount.trajectory):
            if step == amount.trajectory - amount.last:
                before, good = total(steps.loop), steps.loop.guard.trouble.good
            yield
        loss, trouble = total(steps.loop) - before, steps.loop.guard.trouble
        count = trouble.good - good
        steps.found |= {"steps": amount.trajectory, "last": amount.last, "bad_steps": trouble.bad_steps}
        steps.found["mean_loss"] = loss / count if count else None

    return plan


def together(amount: Amount, wait: Callable[[dict[str, Any]], bool]) -> Callable[[Steps], Plan]:
    """How many steps come off in some seconds; once more for as long as ``wait``, given what was found, says so."""

    def plan(steps: Steps) -> Plan:
        yield from first_steps(amount)(steps)
        while wait(steps.found):
            start, count = steps.now(), 0
            # The loop itself waits for the device every few steps, so the host is never far ahead.
            while time.perf_counter() - start < amount.together:
                yield
                count += 1
            steps.found |= {"steps": count, "seconds": steps.now() - start}

    return plan


def memory(device: torch.device) -> dict[str, float]:
    """Gigabytes at most in tensors and in the allocator's hands since `forget`; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    most = {"peak_gb": torch.cuda.max_memory_allocated(device), "reserved_gb": torch.cuda.max_memory_reserved(device)}
    return {name: size / 1e9 for name, size in most.items()}


def forget(device: torch.device) -> None:
    """Give back what was measured before, compiled code and memory, and count the peak of memory anew."""
    gc.collect()
    if device.type == "cuda":
        # Or it would run into the limit of how often one function may be compiled, which no single run gets near.
        torch.compiler.reset()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def kernels(profiled: Any) -> dict[str, float]:
    """How many kernels ran, and the milliseconds that they and copies took on the device."""
    found = [event for event in profiled.profiler.kineto_results.events() if event.device_type().name == "CUDA"]
    kinds = Counter(_kind(event) for event in found)
    busy = sum(event.duration_ns() for event in found if _kind(event) != RANGE)
    return {"kernels": kinds[KERNEL], "copies": kinds[COPY], "kernel_ms": busy / 1e6}


def _kind(event: Any) -> str:
    """Ranges are no work: they only name some, as optimisers do with their steps."""
    name = event.name()
    if name.startswith(("Memcpy", "Memset")):
        return COPY
    return RANGE if name.startswith(("Optimizer.", "ProfilerStep")) else KERNEL
