"""Trackers of Accelerate: started before anything is trained; their later failures do not stop the run.

A tracker is a convenience; the numbers themselves are in ``metrics.jsonl`` of the run folder, always.
"""

from __future__ import annotations

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
    """Start the trackers that ``accelerator`` was made with; a later failure of one does not stop the run.

    Every process calls it, and every one learns whether it worked. Where the accelerator has no tracker, nothing
    happens.

    Args:
        accelerator: made with ``report_to``.
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
    for tracker in accelerator.trackers:
        _make_safe(tracker, accelerator.is_main_process and problem is None)
    (failed,) = ProcessGroup(accelerator).sum_numbers(float(problem is not None))
    if failed:
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.trackers.clear()
        names = ", ".join(kind.name if isinstance(kind, GeneralTracker) else str(kind) for kind in accelerator.log_with)
        reason = "the main process could not start it" if problem is None else describe(problem)
        raise UserError(f"report_to {names!r} did not start: {reason}; mend that or leave out --report-to")


def _make_safe(tracker: GeneralTracker, warn: bool) -> None:
    """Keep a tracker's failures from stopping the run; the first one is printed, where ``warn`` says so.

    It is asked again after a failure, since a network or a disk may come back.
    """

    def safe(action: Callable[..., Any]) -> Callable[..., None]:
        def call(*args: Any, **kwargs: Any) -> None:
            nonlocal warn
            try:
                action(*args, **kwargs)
            except Exception as problem:  # whatever a foreign package raises
                if warn:
                    text = f"warning: tracker {tracker.name} failed: {describe(problem)}; the run goes on"
                    print(f"{text}, and metrics.jsonl has every number", flush=True)
                warn = False

        return call

    for name in ("store_init_configuration", "log", "finish"):
        setattr(tracker, name, safe(getattr(tracker, name)))


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
    config = {name: "none" if value is None else value for name, value in config.items()}
    return {name: value if isinstance(value, int | float | str) else str(value) for name, value in config.items()}
