"""A Ray cluster, one of several machines or one that is started here for as long as the sweep lasts."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cnas.errors import Stopped, UserError
from cnas.sweeps.executors import Start
from cnas.sweeps.executors._supervise import make_supervisor

STORE = 80_000_000
"""Bytes for the objects of a cluster that is started here; an exit code is all that is sent."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the executor ``ray``."""

    AT_ONCE: ClassVar[int | None] = None
    address: str | None = None
    """Of the cluster, e.g. auto; where it is none, ``RAY_ADDRESS``, or else a cluster is started on this machine."""
    cores: float = 1.0
    """Of each run; Ray sets the number of its threads to it."""
    gpus: float = 0.0
    """Of each run; 0.25 is a quarter of one."""

    def __post_init__(self) -> None:
        for name, value in (("cores", self.cores), ("gpus", self.gpus)):
            if value < 0:
                raise UserError(f"ray.{name} must be at least 0, got {value}")

    @contextmanager
    def open(self, home: Path, at_once: int, waiting: int) -> Iterator[Start]:  # noqa: ARG002
        """See `cnas.sweeps.executors.Settings`."""
        # Ray counts its users over the network, unless it is told not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as problem:
            raise UserError("executor ray is not installed; it comes with pip install cnas[ray]") from problem
        address = self.address or os.environ.get("RAY_ADDRESS")
        own: dict[str, Any] = {} if address else {"include_dashboard": False, "object_store_memory": STORE}
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, ValueError, RuntimeError) as problem:
            raise UserError(f"ray.address {address or 'none'}: {' '.join(str(problem).split())[:200]}") from problem
        # Whoever runs the sweep decides whether a run that died is tried again.
        task = ray.remote(num_cpus=self.cores, num_gpus=self.gpus, max_retries=0)(make_supervisor())
        try:
            yield lambda command, log: Task(ray, task.remote(list(command), str(log.resolve()), str(Path.cwd())))
        finally:
            ray.shutdown()


class Task:
    """A process in the hands of the cluster.

    Args:
        ray: the package, connected.
        reference: of the exit code to come.
    """

    def __init__(self, ray: Any, reference: Any) -> None:
        self.ray = ray
        self.reference = reference

    def code(self) -> int | None:
        """See `cnas.sweeps.executors.Work.code`."""
        ended, _ = self.ray.wait([self.reference], timeout=0)
        if not ended:
            return None
        try:
            return int(self.ray.get(self.reference))
        except self.ray.exceptions.TaskCancelledError:
            return Stopped.exit_code
        except self.ray.exceptions.RayError as problem:
            print(f"ray: {' '.join(str(problem).split())[:300]}", flush=True)
            return 1

    def stop(self) -> None:
        """See `cnas.sweeps.executors.Work.stop`."""
        self.ray.cancel(self.reference)
