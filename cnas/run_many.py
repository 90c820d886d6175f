"""Many runs, some at a time, each in a process of its own and through the code of a recipe; finished ones are skipped.

A run's configuration lies in its folder before it starts, and what it prints goes to ``output.log`` there.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from cnas.errors import CnasError, Stopped, StorageError, UserError
from cnas.launch import main
from cnas.run_config import RunConfig
from cnas.run_folder import RunFolder
from cnas.training.stop import StopFlag

LOG = "output.log"
"""What a run prints, in its folder; a resumed run goes on writing to it."""
START = "spawn"
"""Not forked, as torch may have started threads; not by a server, which a signal to all processes would end first."""
POLL = 0.2
"""Seconds between two looks at whether a signal has come."""


@dataclass(frozen=True)
class Job:
    """One of many runs.

    Args:
        name: of its folder, and what it is called in messages.
        config: everything it does.
    """

    name: str
    config: RunConfig


@dataclass
class _Child:
    """A run at work."""

    job: Job
    folder: Path
    process: BaseProcess
    started: float = field(default_factory=time.monotonic)
    asked: bool = False
    """To stop."""


def run_many(jobs: Sequence[Job], home: Path | str, *, at_once: int = 1) -> dict[str, int]:
    """Bring all runs to their end: skip finished ones, resume those that were broken off, start the others.

    Args:
        jobs: with different names.
        home: the folder that holds one folder per run.
        at_once: how many are in work at the same time; they share the cores, unless ``OMP_NUM_THREADS`` is set.

    Returns:
        Exit codes by name (see `cnas.errors`); 0 is finished. A run that fails does not keep the others from going on.

    Raises:
        UserError: two names are equal, a folder holds another configuration, or `torchrun` has started this process;
            raised before anything starts.
        StorageError: a folder or log cannot be written.
        Stopped: a signal asked for it; all runs that were in work have saved, and the same call goes on from there.
    """
    _check(jobs, at_once)
    folders = {job.name: RunFolder(Path(home) / job.name) for job in jobs}
    results = {job.name: folders[job.name].look(job.config, resume=True) for job in jobs}
    waiting = [job for job in jobs if results[job.name] is None]
    if len(waiting) < len(jobs):
        _say(f"{len(jobs) - len(waiting)} of {len(jobs)} runs are finished already")
    codes = {job.name: 0 for job in jobs if results[job.name] is not None}
    with StopFlag().on_signals() as stop:
        codes |= _work(waiting, folders, at_once, stop)
        if stop.reason is not None and len(codes) < len(jobs):
            raise Stopped(f"stopped by {stop.reason}; go on with the same command")
    return {job.name: codes[job.name] for job in jobs}


def _check(jobs: Sequence[Job], at_once: int) -> None:
    names = [job.name for job in jobs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"jobs must have different names, got {repeated[0]!r} twice")
    if at_once < 1:
        raise UserError(f"jobs must be at least 1 at once, got {at_once}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("many runs are started by one process, got several by a launcher; use python alone, and --jobs")


def _work(waiting: Sequence[Job], folders: dict[str, RunFolder], at_once: int, stop: StopFlag) -> dict[str, int]:
    """Exit codes by name of all that came to an end; those that a stop kept from it are not among them."""
    codes: dict[str, int] = {}
    queue = list(waiting)
    with _children() as running:
        while running or (queue and stop.reason is None):
            while queue and stop.reason is None and len(running) < at_once:
                job = queue.pop(0)
                _say(f"{job.name}: started ({len(waiting) - len(queue)} of {len(waiting)})")
                running.append(_start(job, folders[job.name], at_once))
            if stop.reason is not None:
                _ask_to_stop(running)
            connection.wait([child.process.sentinel for child in running], POLL)
            for child in [child for child in running if child.process.exitcode is not None]:
                running.remove(child)
                _note_end(child, stop, codes)
    return codes


def _note_end(child: _Child, stop: StopFlag, codes: dict[str, int]) -> None:
    code, seconds = child.process.exitcode or 0, time.monotonic() - child.started
    # Before it can save, a process dies of the signal itself, or of the exception Python makes of it.
    if stop.reason is not None and (code < 0 or code in {Stopped.exit_code, CnasError.exit_code}):
        _say(f"{child.job.name}: stopped")
        return
    codes[child.job.name] = code if code >= 0 else 128 - code
    if code == 0:
        _say(f"{child.job.name}: finished after {seconds:.0f} s")
    else:
        _say(f"{child.job.name}: failed with exit code {codes[child.job.name]}: {last_line(child.folder)}")


def last_line(folder: Path) -> str:
    """The last thing a run has printed, and where the rest is.

    Args:
        folder: of the run.
    """
    log = folder / LOG
    lines = log.read_text("utf-8", "replace").split("\n") if log.exists() else []
    spoken = [line for line in lines if line.strip()]
    return f"{spoken[-1].strip()[:300] if spoken else 'it said nothing'} (log: {log})"


@contextmanager
def _children() -> Iterator[list[_Child]]:
    """Processes that do not outlive the context."""
    running: list[_Child] = []
    try:
        yield running
    finally:
        _ask_to_stop(running)
        for child in running:
            child.process.join()


def _ask_to_stop(running: Sequence[_Child]) -> None:
    for child in running:
        if not child.asked:
            child.asked = True
            child.process.terminate()


def _start(job: Job, home: RunFolder, at_once: int) -> _Child:
    home.begin(job.config)
    log = home.path / LOG
    try:
        log.touch()
    except OSError as problem:
        raise StorageError(f"cannot write {log}: {problem.strerror}") from problem
    threads = None if "OMP_NUM_THREADS" in os.environ else max(1, (os.cpu_count() or 1) // at_once)
    argv = ["--config", str(home.path / "config.json"), "--output-dir", str(home.path), "--resume"]
    context: Any = multiprocessing.get_context(START)
    process = context.Process(target=_run_one, args=(argv, log, threads), name=job.name)
    process.start()
    return _Child(job, home.path, process)


def _run_one(argv: Sequence[str], log: Path, threads: int | None) -> None:
    """What a child does: the command line of a recipe that needs no preset, with its output in a file."""
    # Ctrl-C reaches children too; they wait for what their parent says.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(file, number)
    if threads is not None:
        torch.set_num_threads(threads)
    sys.exit(main({}, argv))


def _outlive_nobody() -> None:
    """Stop, with a checkpoint, when the parent is no more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _say(text: str) -> None:
    print(text, flush=True)
