"""Stopping on a signal: the handler sets a flag, the loop saves at the next step and leaves."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopSignal:
    """Whether somebody has asked the run to stop, and how."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def request(self, reason: str) -> None:
        """Ask for a stop; the first reason is kept."""
        self.reason = self.reason or reason

    @contextmanager
    def on_signals(self) -> Iterator[StopSignal]:
        """Turn SIGTERM and SIGINT into requests while the context lasts. No work is done in the handler."""

        def handle(number: int, _: FrameType | None) -> None:
            self.request(signal.Signals(number).name)

        previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
