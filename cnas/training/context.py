"""`RunContext`: accelerator, processes, folder, seed and stop signal, shared by search and retraining."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType

import torch
from accelerate import Accelerator

from cnas.errors import Stopped
from cnas.random import generator
from cnas.training.distributed import ProcessGroup
from cnas.training.step_graphs import StepGraphs
from cnas.training.time_limit import seconds

LAUNCHED = "TORCHELASTIC_RUN_ID"
"""The variable that `torchrun` and `accelerate launch` give to their processes."""
POLL_SECONDS = 0.5
GRACE_SECONDS = 60.0
"""For the step under way and its checkpoint; what is stuck is ended then."""


class StopSignal:
    """Whether the run is to stop, and why: a signal, or its time is up; the loop saves at its next step and leaves.

    Args:
        stop_after: the time that the run has, e.g. ``9m``; None is no limit.
        since: when that time began, on the clock of `time.monotonic`; now where None.

    Raises:
        UserError: ``stop_after`` is no time above 0.
    """

    def __init__(self, stop_after: str | None = None, since: float | None = None) -> None:
        start = time.monotonic() if since is None else since
        self.deadline = math.inf if stop_after is None else start + seconds(stop_after)
        self._stop_after = stop_after
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """What asks for the stop, e.g. ``SIGTERM`` or ``--stop-after 9m``; None where nothing does."""
        if time.monotonic() >= self.deadline:
            self.request(f"--stop-after {self._stop_after}")
        return self._reason

    def request(self, reason: str) -> None:
        """Ask for a stop; the first reason is kept."""
        self._reason = self._reason or reason

    @contextmanager
    def on_signals(self) -> Iterator[StopSignal]:
        """Turn SIGTERM and SIGINT into requests while the context lasts. No work is done in the handler.

        Python hears of signals in the main thread alone: elsewhere, as in a server, nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def handle(number: int, _: FrameType | None) -> None:
            self.request(signal.Signals(number).name)

        previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextmanager
    def on_launcher_exit(self) -> Iterator[None]:
        """Turn the end of the launcher into a request while the context lasts; without a launcher, nothing is watched.

        `torchrun` and `accelerate launch` end the processes they have started, unless they are killed themselves:
        nobody would hear of the run, and the next start would find it still at work.
        """
        if LAUNCHED not in os.environ:
            yield
            return
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(os.getppid(), over), daemon=True, name="launcher-watch")
        watch.start()
        try:
            yield
        finally:
            over.set()

    def _watch(self, launcher: int, over: threading.Event) -> None:
        while not over.wait(POLL_SECONDS):
            # An orphan is adopted: by then its parent is another process.
            if os.getppid() != launcher:
                self.request("the end of its launcher")
                if not over.wait(GRACE_SECONDS):
                    os._exit(Stopped.exit_code)
                return


@dataclass(frozen=True)
class RunContext:
    """What the loops of one run share, and all that trains or scores for them.

    Args:
        accelerator: devices, processes, precision, trackers.
        folder: the run folder; checkpoints go to ``checkpoints/`` in it, rows to ``metrics.jsonl``.
        seed: of every draw.
        config_hash: stamped into checkpoints; another one is refused on resume.
        stop: set by signals and by the clock.
        check_ranks: compare all that the processes hold every so many steps; None compares nothing.
        graphs: records steps where the device can do them again at once.
    """

    accelerator: Accelerator
    folder: Path
    seed: int
    config_hash: str
    stop: StopSignal = field(default_factory=StopSignal)
    check_ranks: int | None = None
    graphs: StepGraphs = field(default_factory=StepGraphs)

    @cached_property
    def processes(self) -> ProcessGroup:
        """The processes of the run."""
        return ProcessGroup(self.accelerator)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.accelerator.device

    def autocast(self) -> AbstractContextManager[None]:
        """The run's precision, while the context lasts."""
        found: AbstractContextManager[None] = self.accelerator.autocast()
        return found

    @property
    def loss_scale(self) -> float:
        """What losses are multiplied by before a backward pass in fp16, so that no gradient vanishes; otherwise 1."""
        scaler = self.accelerator.scaler
        return 1.0 if scaler is None else float(scaler.get_scale())

    def generator(self, stream: str, *counters: int) -> torch.Generator:
        """The draws of one purpose at one position, see `cnas.random.generator`.

        Args:
            stream: the name of the purpose.
            counters: the position, e.g. a step.
        """
        return generator(self.seed, stream, *counters)

    def log(self, text: str) -> None:
        """Print one line, once."""
        if self.accelerator.is_main_process:
            print(text, flush=True)
