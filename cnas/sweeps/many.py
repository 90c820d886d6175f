"""Many runs, some at a time, each in a process of its own; finished ones are skipped, broken-off ones resumed.

A run's configuration lies in its folder before it starts, and what it prints goes to ``output.log`` there. A folder
with ``result.json`` is finished, since that is written last and whole; no other marker is needed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnas.durable import storage_errors
from cnas.errors import CnasError, Stopped, UserError
from cnas.runs.config import RunConfig
from cnas.runs.earlier import by_new_names
from cnas.runs.folder import RunFolder, scalars
from cnas.runs.lock import holder
from cnas.runs.task import load_task
from cnas.sweeps.executors import Settings, Start, Work
from cnas.sweeps.executors.local import Settings as LocalSettings
from cnas.training.context import StopSignal

LOG = "output.log"
"""What a run prints, in its folder; a resumed run goes on writing to it."""
POLL = 0.2
"""Seconds between two looks at the runs that go on, and at whether a signal has come."""


@dataclass(frozen=True)
class Job:
    """One of many runs.

    Args:
        name: of its folder, and what it is called in messages.
        config: everything it does.
        about: what tells it from the others, in a few words.
    """

    name: str
    config: RunConfig
    about: str = ""


@dataclass
class _Running:
    """A run at work."""

    name: str
    folder: RunFolder
    work: Work
    started: float = field(default_factory=time.monotonic)


def by_seed(jobs: Iterable[Job]) -> list[Job]:
    """All runs of the first seed, then those of the next."""
    every = list(jobs)
    seeds = list(dict.fromkeys(job.config.seed for job in every))
    return sorted(every, key=lambda job: seeds.index(job.config.seed))


def run_many(
    jobs: Sequence[Job],
    home: Path | str,
    *,
    at_once: int | None = None,
    executor: Settings | None = None,
    stop: StopSignal | None = None,
) -> dict[str, int]:
    """Bring all runs to their end: skip finished ones, resume those that were broken off, start the others.

    Args:
        jobs: with different names.
        home: the folder that holds one folder per run.
        at_once: how many are handed to the executor at the same time; None leaves it to the executor.
        executor: what runs their processes, see `cnas.sweeps.executors`; this machine where None.
        stop: what stops them beside signals: ``StopSignal("9m")`` does after nine minutes.

    Returns:
        Exit codes by name (see `cnas.errors`); 0 is finished, 75 is to be gone on with: the run was stopped by somebody
        else, or is running elsewhere. A run that fails does not keep the others from going on.

    Raises:
        UserError: two names are equal, a folder holds another configuration, `torchrun` has started this process, or
            the executor cannot be had; raised before anything starts.
        StorageError: a folder or log cannot be written.
        Stopped: a signal or ``stop`` asked for it; what was running has saved, and the same call goes on from there.
    """
    how = LocalSettings() if executor is None else executor
    at_once = how.AT_ONCE or max(1, len(jobs)) if at_once is None else at_once
    _check(jobs, at_once)
    folders = {job.name: RunFolder(Path(home) / job.name) for job in jobs}
    finished = {job.name for job in jobs if _is_finished(folders[job.name], job.config)}
    waiting = [job for job in jobs if job.name not in finished]
    if len(waiting) < len(jobs):
        _log(f"{len(jobs) - len(waiting)} of {len(jobs)} runs are finished already")
    codes = dict.fromkeys(finished, 0)
    if waiting:
        stop = StopSignal() if stop is None else stop
        with how.open(Path(home), at_once, len(waiting)) as opened, stop.on_signals():
            codes |= _Batch(waiting, folders, opened, stop).run(at_once)
            if stop.reason is not None and len(codes) < len(jobs):
                raise Stopped(f"stopped by {stop.reason}; go on with the same command")
    return {job.name: codes[job.name] for job in jobs}


def _is_finished(home: RunFolder, config: RunConfig) -> bool:
    """Whether the run need not be done; checks that the folder is its own.

    A finished run of another layout of ``config.json`` counts where every field that it has says the same. Such a run
    that is not finished is refused, as nobody may go on with it.
    """
    known, mine = home.read_json("config.json"), scalars(config.to_json())
    if known is not None and known.get("version") != mine["version"] and home.read_json("result.json") is not None:
        theirs = {name: value for name, value in scalars(by_new_names(known)).items() if name != "version"}
        if all(name in mine and mine[name] == value for name, value in theirs.items()):
            return True
    return home.check(config, lambda: load_task(config).fingerprint, resume=True) is not None


def _check(jobs: Sequence[Job], at_once: int) -> None:
    names = [job.name for job in jobs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"jobs must have different names, got {repeated[0]!r} twice")
    if at_once < 1:
        raise UserError(f"--jobs must be at least 1, got {at_once}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("many runs are started by one process, got several by a launcher; use python alone, and --jobs")


class _Batch:
    """The runs that are not finished, until they are.

    Args:
        waiting: in the order in which they are started.
        folders: of the runs, by name.
        start: what starts their processes.
        stop: whether they are to stop.
    """

    def __init__(self, waiting: Sequence[Job], folders: dict[str, RunFolder], start: Start, stop: StopSignal) -> None:
        self.count, self.queue = len(waiting), list(waiting)
        self.folders, self.start, self.stop = folders, start, stop
        self.running: list[_Running] = []
        self.codes: dict[str, int] = {}
        self.stopping = False

    def run(self, at_once: int) -> dict[str, int]:
        """Exit codes by name of all that came to an end; those that a stop kept from it are not among them."""
        try:
            while self.stop.reason is None and (self.running or self.queue):
                while self.queue and self.stop.reason is None and len(self.running) < at_once:
                    self._start(self.queue.pop(0))
                self._wait()
        finally:
            # No run outlives the batch, whatever ended it.
            self.stopping = True
            for run in self.running:
                run.work.stop()
            while self.running:
                self._wait()
        return self.codes

    def _start(self, job: Job) -> None:
        """Start a run, unless somebody else is at it."""
        folder = self.folders[job.name]
        if (other := holder(folder.path)) is not None:
            _log(f"{job.name}: running elsewhere, by {other}")
            self.codes[job.name] = Stopped.exit_code
            return
        folder.start(job.config)
        log = folder.path / LOG
        with storage_errors(str(log)):
            log.open("ab").close()
        _log(f"{job.name}: started ({self.count - len(self.queue)} of {self.count}{job.about and f'; {job.about}'})")
        self.running.append(_Running(job.name, folder, self.start(command(folder.path), log)))

    def _wait(self) -> None:
        """Note which runs have ended, or wait a little."""
        ended = [(run, code) for run in self.running if (code := run.work.code()) is not None]
        for run, code in ended:
            self.running.remove(run)
            self._note_end(run, code)
        if not ended:
            time.sleep(POLL)

    def _note_end(self, run: _Running, code: int) -> None:
        if run.folder.read_json("result.json") is not None:
            # The folder says so, whatever became of the process afterwards.
            code = 0
        # Before it can save, a process dies of the signal itself, or of the exception Python makes of it.
        stopping = self.stopping or self.stop.reason is not None
        if stopping and (code < 0 or code in {Stopped.exit_code, CnasError.exit_code}):
            _log(f"{run.name}: stopped")
            return
        self.codes[run.name] = code = code if code >= 0 else 128 - code
        if code == 0:
            _log(f"{run.name}: finished after {time.monotonic() - run.started:.0f} s")
        elif code == Stopped.exit_code:
            _log(f"{run.name}: stopped by somebody else; the same command goes on with it")
        else:
            _log(f"{run.name}: failed with exit code {code}: {last_line(run.folder.path)}")


def command(folder: Path) -> list[str]:
    """The words that bring the run of a folder to its end; its ``config.json`` says which run it is.

    The process stops, with a checkpoint, when its standard input is closed: nobody is left who waits for it.

    Args:
        folder: of the run; it holds ``config.json``.
    """
    return [sys.executable, "-m", "cnas.sweeps", str(folder.resolve())]


def last_line(folder: Path) -> str:
    """The last thing a run has printed, and where the rest is.

    Args:
        folder: of the run.
    """
    log = folder / LOG
    lines = log.read_text("utf-8", "replace").split("\n") if log.exists() else []
    printed = [line for line in lines if line.strip()]
    return f"{printed[-1].strip()[:300] if printed else 'it said nothing'} (log: {log})"


def _log(text: str) -> None:
    print(text, flush=True)
