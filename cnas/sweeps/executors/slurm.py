"""The queue of a Slurm cluster, through submitit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cnas.errors import Stopped, UserError
from cnas.runs.lock import holder
from cnas.sweeps.executors import Start
from cnas.sweeps.executors._supervise import make_supervisor

FILES = ".submitit"
"""What submitit writes, in the folder of the run folders."""
GRACE = 60.0
"""Seconds that a run may take to save after the job it belonged to is over; Slurm allows 30 by default."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the executor ``slurm``."""

    AT_ONCE: ClassVar[int | None] = None
    cluster: str = "slurm"
    """As submitit calls it; local is this machine, to try things out."""
    minutes: int = 1440
    """A run gets; one that needs more saves shortly before, and the same command goes on with it."""
    cores: int = 1
    """Of each run."""
    gpus: int = 0
    """Of each run."""
    partition: str | None = None
    """Of the queue."""
    account: str | None = None
    """That pays."""
    qos: str | None = None
    """Quality of service, where the site has several."""
    constraint: str | None = None
    """Features a node must have."""

    def __post_init__(self) -> None:
        for name, least in (("minutes", 1), ("cores", 1), ("gpus", 0)):
            if getattr(self, name) < least:
                raise UserError(f"slurm.{name} must be at least {least}, got {getattr(self, name)}")

    @contextmanager
    def open(self, home: Path, at_once: int, waiting: int) -> Iterator[Start]:  # noqa: ARG002
        """See `cnas.sweeps.executors.Settings`."""
        try:
            import submitit
        except ImportError as problem:
            raise UserError("executor slurm is not installed; it comes with pip install cnas[slurm]") from problem
        try:
            executor = submitit.AutoExecutor(folder=home / FILES, cluster=self.cluster)
        except (RuntimeError, ValueError) as problem:
            raise UserError(f"slurm.cluster {self.cluster}: {' '.join(str(problem).split())[:200]}") from problem
        named = {name: getattr(self, name) for name in ("partition", "account", "qos", "constraint")}
        executor.update_parameters(
            name="cnas",
            timeout_min=self.minutes,
            cpus_per_task=self.cores,
            gpus_per_node=self.gpus,
            **{f"slurm_{name}": value for name, value in named.items() if value is not None},
        )
        work = make_supervisor()
        yield lambda command, log: SlurmJob(
            executor.submit(work, list(command), str(log.resolve()), str(Path.cwd())), log.parent
        )


class SlurmJob:
    """A process in the hands of the queue.

    Args:
        job: of submitit.
        folder: of the run.
    """

    def __init__(self, job: Any, folder: Path) -> None:
        self.job = job
        self.folder = folder
        self.asked = False
        self.over: float | None = None

    def code(self) -> int | None:
        """See `cnas.sweeps.executors.Work.code`."""
        if not self.job.done():
            return None
        if self.asked:
            return None if self._saving() else Stopped.exit_code
        try:
            return int(self.job.result())
        except Exception as problem:  # submitit has several, and the job may have raised any
            print(f"slurm: {' '.join(str(problem).split())[:300]}", flush=True)
            return 1

    def _saving(self) -> bool:
        """Whether the run is still at work: its job, being cancelled, does not wait for it."""
        self.over = self.over or time.monotonic()
        return holder(self.folder) is not None and time.monotonic() - self.over < GRACE

    def stop(self) -> None:
        """See `cnas.sweeps.executors.Work.stop`."""
        self.asked = True
        self.job.cancel(check=False)
