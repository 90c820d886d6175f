"""The last stage of a run: result, model folder, card and report."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch

from cnas.errors import StorageError
from cnas.reports.report import report_run
from cnas.runs.devices import environment
from cnas.runs.folder import RunFolder, chosen
from cnas.runs.latency import measured_task, read_latency
from cnas.runs.rankings import known_losses
from cnas.runs.result import RunResult
from cnas.runs.task import RetrainResult, Task
from cnas.training.context import RunContext
from cnas.training.metrics_log import json_safe
from cnas.types import Architecture


def conclude(
    task: Task, context: RunContext, home: RunFolder, found: dict[str, Any], trained: RetrainResult | None
) -> RunResult:
    """Write the model folder, card, pictures and report of a run, and ``result.json`` last.

    Args:
        task: the run's data and configuration.
        context: accelerator, run folder, seed.
        home: the run folder.
        found: what `search` returned.
        trained: what `retrain` returned; None where nothing was trained.

    Raises:
        StorageError: the disk refuses.
    """
    architecture = task.config.space.parse(chosen(found))
    record = task.look_up(architecture, known_losses(found.get("supernet_losses", {})))
    more = {} if record is None else {"benchmark": record}
    more["environment"] = environment(context.accelerator) | context.graphs.describe()
    figures = None if trained is None else trained.figures
    # What was measured for the search is known of the architecture, too.
    known = measured_task(task, home.path) if found["search"] and read_latency(home.path) else task
    result = result_of(known, architecture, found["search"], figures, **more, **_peak_memory())
    if context.accelerator.is_main_process:
        try:
            task.export(home.path, result, trained)
            report_run(home.path, result, task)
        except OSError as problem:
            raise StorageError(f"cannot write the model and card to {home.path}: {problem.strerror}") from problem
        result.save(home.path)
    context.processes.wait()
    return result


def result_of(
    task: Task, architecture: Architecture, search: dict[str, Any] | None, retrain: dict[str, Any] | None, **more: Any
) -> RunResult:
    """The result of a run, or of a part of it.

    Args:
        task: the run's data and configuration.
        architecture: that was found, or given.
        search: its figures; None where nothing was searched.
        retrain: figures of the network; None where nothing was trained.
        more: other entries of ``result.json``.
    """
    config = task.config
    costs = dict(config.space.costs(architecture))
    curriculum = config.curriculum if search and config.curriculum and config.curriculum.active else None
    values = {
        "recipe": config.recipe,
        "preset": config.preset,
        "space": config.space.name,
        "algorithm": config.algorithm if search else None,
        # K as 0.1.0 called it as well.
        "curriculum": curriculum and curriculum.to_json() | {"k": curriculum.num_candidates},
        "seed": config.seed,
        "dataset": task.dataset(),
        "architecture": architecture.to_json() | ({"costs": costs} if costs else {}),
        "search": search,
        "retrain": retrain,
        **more,
    }
    return RunResult.from_json(json_safe(values))


def _peak_memory() -> dict[str, float]:
    """The most GB of its accelerator that this process has held; empty where there is none, or nobody counts."""
    with suppress(RuntimeError):
        if peak := torch.accelerator.max_memory_reserved():
            return {"peak_memory_gb": peak / 1e9}
    return {}
