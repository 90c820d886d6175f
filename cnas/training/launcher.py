"""A run whose launcher has been killed stops: nobody would hear of it, and the next start would find it still at work.

`torchrun` and `accelerate launch` end the processes they have started, unless they are killed themselves.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cnas.errors import Stopped
from cnas.training.stop import StopSignal

MARK = "TORCHELASTIC_RUN_ID"
"""The variable that these launchers give to their processes."""
LOOK_SECONDS = 0.5
GRACE_SECONDS = 60.0
"""For the step under way and its checkpoint; what is stuck is ended then."""


@contextmanager
def launcher_watched(stop: StopSignal) -> Iterator[None]:
    """Ask for a stop as soon as the launcher is gone; without a launcher, nothing is watched.

    Args:
        stop: asked; the loop saves at its next step, as after a signal.
    """
    if MARK not in os.environ:
        yield
        return
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(stop, os.getppid(), over), daemon=True, name="launcher-watch")
    watch.start()
    try:
        yield
    finally:
        over.set()


def _watch(stop: StopSignal, launcher: int, over: threading.Event) -> None:
    while not over.wait(LOOK_SECONDS):
        # An orphan is adopted: by then its parent is another process.
        if os.getppid() != launcher:
            stop.request("the end of its launcher")
            if not over.wait(GRACE_SECONDS):
                os._exit(Stopped.exit_code)
            return
