"""Trackers of Accelerate: started before anything is trained, and unable to stop what is trained.

A tracker is a convenience; the numbers themselves are in ``metrics.jsonl`` of the run folder, always.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker

from cnas.errors import UserError
from cnas.training.distributed import ProcessGroup

PROJECT = "cnas"
"""What trackers call the project; the runs in it are told apart by the names of their folders."""
LONGEST_REASON = 300


def start_trackers(accelerator: Accelerator, folder: Path, config: Mapping[str, Any], *, resume: bool) -> None:
    """Start the trackers that ``accelerator`` was made with, and keep what fails later from stopping the run.

    Every process calls it, and every one learns whether it worked. Where the accelerator has no tracker, nothing
    happens.

    Args:
        accelerator: made with ``log_with``.
        folder: the run folder; trackers that name their runs take its name.
        config: the run's settings by dotted name; what is no scalar is stored as text.
        resume: go on with the tracker's newest run of that name, where the tracker knows how.

    Raises:
        UserError: a tracker did not start; those that did are finished.
    """
    if not accelerator.log_with:
        return
    problem: Exception | None = None
    name = {"name": folder.resolve().name, "resume": "allow" if resume else "never"}
    try:
        accelerator.init_trackers(PROJECT, config=_plain(config), init_kwargs={"trackio": name})
    except Exception as error:  # whatever a foreign package raises
        problem = error
    (failed,) = ProcessGroup(accelerator).sum_numbers(float(problem is not None))
    if failed:
        _finish_all(accelerator)
        names = ", ".join(kind.name if isinstance(kind, GeneralTracker) else str(kind) for kind in accelerator.log_with)
        reason = "the main process could not start it" if problem is None else describe(problem)
        raise UserError(f"log_with {names!r} did not start: {reason}; mend that or leave out --log-with")
    accelerator.trackers[:] = [SafeTracker(tracker, accelerator) for tracker in accelerator.trackers]


class SafeTracker(GeneralTracker):
    """A started tracker whose first failure is told in one line; no failure of it stops the run.

    It is asked again after a failure, since a network or a disk may come back.

    Args:
        inner: the tracker.
        accelerator: knows which process prints.
    """

    requires_logging_directory = False
    main_process_only = False

    def __init__(self, inner: GeneralTracker, accelerator: Accelerator) -> None:
        self.inner, self.accelerator = inner, accelerator
        self._told = False
        super().__init__()

    @property
    def name(self) -> str:
        """That of the tracker inside, by which `Accelerator.get_tracker` finds it."""
        return str(self.inner.name)

    @property
    def tracker(self) -> Any:
        """What the tracker inside wraps."""
        return self.inner.tracker

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Hand on the settings of a run."""
        self._try(self.inner.store_init_configuration, values)

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Hand on one row of numbers."""
        self._try(self.inner.log, values, step=step, **kwargs)

    def finish(self) -> None:
        """End the tracker's run."""
        self._try(self.inner.finish)

    def _try(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        try:
            action(*args, **kwargs)
        except Exception as problem:  # whatever a foreign package raises
            if not self._told and self.accelerator.is_main_process:
                said = f"warning: tracker {self.name} failed: {describe(problem)}; "
                print(f"{said}the run goes on, and metrics.jsonl has every number", flush=True)
            self._told = True


def describe(problem: Exception) -> str:
    r"""What an exception says, on one line.

    Example:
        >>> describe(OSError("no\nspace"))
        'OSError: no space'
    """
    text = " ".join(f"{type(problem).__name__}: {problem}".split())
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 3]}..."


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as trackers take them: scalars and text."""
    return {name: value if isinstance(value, int | float | str) else _word(value) for name, value in config.items()}


def _word(value: Any) -> str:
    return "none" if value is None else str(value)


def _finish_all(accelerator: Accelerator) -> None:
    """Let go of whatever did start; those that did not may refuse."""
    for tracker in accelerator.trackers:
        with contextlib.suppress(Exception):
            tracker.finish()
    accelerator.trackers.clear()
