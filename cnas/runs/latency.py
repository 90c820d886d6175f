"""``latency.json``: what measured costs are made of. It is measured once, before a search, and read ever after.

A number that was measured is another one each time, so a search that goes on, and every process of it, takes those in
the run folder, and ends as it would have ended without a stop.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from cnas.errors import UserError
from cnas.random import HOST
from cnas.runs.benchmark_record import LARGEST, Part, Text
from cnas.runs.config import RunConfig
from cnas.runs.devices import environment
from cnas.runs.folder import RunFolder
from cnas.runs.task import Task
from cnas.training.context import RunContext
from cnas.training.metrics_log import Count
from cnas.training.search_parts import check_candidates

NAME = "latency.json"


class LatencyRecord(Part):
    """The contents of ``latency.json``.

    Attributes:
        device: on which it was measured.
        threads: of the process.
        dtype: of the networks.
        cache_tokens: to which the new token attends.
        repetitions: of which the median was taken.
        blocks: milliseconds by name, see `cnas.spaces.base.SearchSpace.measure`.
        environment: versions.
    """

    device: Text
    threads: Count
    dtype: Text
    cache_tokens: Count
    repetitions: Count
    blocks: dict[str, Annotated[float, Field(gt=0, le=LARGEST)]]
    environment: dict[str, Any] = Field(default_factory=dict)

    @property
    def setting(self) -> str:
        """Of what the milliseconds are, for a sentence or a caption."""
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        return f"a token at batch 1 with {self.cache_tokens} in the cache, {self.dtype} on {self.device}, {threads}"


def read_latency(folder: Path) -> LatencyRecord | None:
    """What a run has measured; None where nothing was.

    Args:
        folder: of the run.

    Raises:
        UserError: a value is not what a run writes; the message names it.
    """
    values = RunFolder(folder).read_json(NAME)
    return None if values is None else LatencyRecord.from_json(values, folder / NAME)


def measured_task(task: Task, folder: Path) -> Task:
    """The task with a space that has the measured costs which its search needs; itself where it needs none.

    Args:
        task: the run's data and configuration.
        folder: of the run, which has measured them.

    Raises:
        UserError: it has not, or those of another space.
    """
    config = task.config
    if not _needed(config):
        return task
    record = read_latency(folder)
    if record is None:
        raise UserError(f"run {folder} has no {NAME} any more, and with another one its search is another; start anew")
    return replace(task, config=replace(config, space=config.space.measured(record.blocks)))


def _needed(config: RunConfig) -> list[str]:
    return [name for name in config.search.cost_names if name in config.space.measurable]


def measure_latency(task: Task, context: RunContext, home: RunFolder) -> Task:
    """Measure the costs that the search needs, once for all processes and every resume; see `measured_task`.

    Args:
        task: the run's data and configuration.
        context: whose device measures.
        home: the run folder, to which the main process writes.

    Raises:
        UserError: no architecture is within the limit, or fewer than the candidates that are asked for.
        StorageError: the disk refuses.
    """
    if not _needed(task.config):
        return task
    here = {"device": _device(context.device), "threads": torch.get_num_threads()}
    if context.accelerator.is_main_process and read_latency(home.path) is None and not home.has_progress():
        assert task.config.text is not None
        found = task.config.space.measure(context.device, task.config.text.length)
        home.write_json(NAME, here | found | {"environment": environment(context.accelerator)})
    context.processes.wait()
    task, record = measured_task(task, home.path), read_latency(home.path)
    config = task.config
    assert record is not None
    kept = "" if here.items() <= dict(record).items() else "; it was measured elsewhere, and is kept"
    low, high = map(config.space.costs, config.space.extremes())
    for name in _needed(config):
        context.log(f"{name}: {low[name]:.3g} to {high[name]:.3g}, of {record.setting}{kept}")
    algorithm = config.search.build(config.space, config.seed)
    if config.curriculum:
        check_candidates(config.curriculum, algorithm, config.trainer)
    return task


def _device(device: torch.device) -> str:
    """What a time depends on, as far as it has a name."""
    if device.type == HOST.type:
        return f"{device.type} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    name = getattr(torch.get_device_module(device), "get_device_name", None)
    return device.type if name is None else str(name(device))
