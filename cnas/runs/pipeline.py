"""The stages of a run: search, retraining, measurements, model folder, card and report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn

from cnas.errors import StorageError
from cnas.random import generator
from cnas.reports.report import report_run
from cnas.runs.config import RunConfig
from cnas.runs.devices import environment
from cnas.runs.folder import RunFolder, chosen
from cnas.runs.rankings import Ranker, load_rankings
from cnas.runs.result import RunResult
from cnas.runs.task import Hooks, RetrainResult, Task
from cnas.spaces.supernet import SuperNet
from cnas.training.context import RunContext
from cnas.training.loop import AccelerateLoop
from cnas.training.metrics_log import json_safe
from cnas.training.retrain import Retrainer
from cnas.training.search import SearchLoop
from cnas.training.search_parts import SearchParts
from cnas.types import Architecture

NONE = Hooks()


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
    config = task.config
    architecture = config.space.parse(chosen(found))
    reweighted = found["search"] and config.curriculum is not None and config.curriculum.active
    record = task.look_up(architecture, found.get("supernet_losses", {}))
    values = {
        "recipe": config.recipe,
        "preset": config.preset,
        "space": config.space.name,
        "algorithm": config.algorithm if found["search"] else None,
        "curriculum": _curriculum(config) if reweighted else None,
        "seed": config.seed,
        "dataset": task.dataset(),
        "architecture": architecture.to_json(),
        "search": found["search"],
        "retrain": None if trained is None else trained.figures,
        **({} if record is None else {"benchmark": record}),
        "environment": environment(context.accelerator) | context.graphs.describe(),
        **_peak_memory(),
    }
    result = RunResult.from_json(json_safe(values))
    if context.accelerator.is_main_process:
        try:
            task.export(home.path, result, trained, _algorithm(config).paper)
            report_run(home.path, result, task)
        except OSError as problem:
            raise StorageError(f"cannot write the model and card to {home.path}: {problem.strerror}") from problem
        result.save(home.path)
    context.processes.wait()
    return result


def _peak_memory() -> dict[str, float]:
    """The most GB of its accelerator that this process has held; empty where there is none, or nobody counts."""
    with suppress(RuntimeError):
        if peak := torch.accelerator.max_memory_reserved():
            return {"peak_memory_gb": peak / 1e9}
    return {}


def search(task: Task, context: RunContext, home: RunFolder, hooks: Hooks = NONE) -> dict[str, Any]:
    """Search, from the newest checkpoint where there is one; ``search.json`` where the search is over.

    Args:
        task: the run's data and configuration, see `cnas.runs.task.load_task`.
        context: accelerator, run folder, seed.
        home: the run folder; ``search.json`` is written there by the main process.
        hooks: callbacks.

    Returns:
        ``{"string": ..., "search": ...}``; where nothing is searched (``options.architecture``) the latter is None, and
        where a front was found on which nobody has chosen yet, the former.
    """
    config = task.config
    if config.architecture is not None:
        return {"string": config.space.parse(config.architecture).to_str(), "search": None}
    known = home.read_json("search.json")
    if known is not None:
        if known["string"] is None and config.search.pick is not None:
            known["string"] = config.space.parse(config.search.pick).to_str()
            _keep(known, context, home)
        context.log(f"the search is finished: found {known['string'] or 'a front'}")
        return known
    trainer = search_loop(task, context, hooks, task.ranker(home))
    if not trainer.resume():
        context.log(
            f"search: {trainer.config.num_train_epochs} epochs of {_steps(config, trainer)}, {_candidates(config)}"
        )
    outcome = trainer.train()
    figures = {name: getattr(outcome, name) for name in ("epochs", "steps", "seconds", "valid")}
    front = [asdict(point) for point in outcome.front]
    found = {
        "string": outcome.architecture and outcome.architecture.to_str(),
        "search": figures | outcome.trouble | ({"front": front} if front else {}),
        "fingerprint": task.fingerprint,
        "supernet_losses": _published(home),
    }
    # The search is over: its optimiser need not be kept through the training.
    context.accelerator.free_memory()
    _keep(found, context, home)
    for point in outcome.front:
        costs = ", ".join(f"{cost:,.6g} {name}" for name, cost in point.costs.items())
        context.log(f"front: {point.architecture}: loss {point.loss:.4f}, {costs}")
    context.log(f"found {found['string'] or f'a front of {len(front)} architectures'}")
    return found


def _keep(found: dict[str, Any], context: RunContext, home: RunFolder) -> None:
    if context.accelerator.is_main_process:
        home.write_json("search.json", found)
    context.processes.wait()


def _published(home: RunFolder) -> Mapping[str, float]:
    """The last losses of a benchmark's fixed set with shared weights, by the published scoring."""
    rated = [each for each in load_rankings(home.path) if each.scoring == SuperNet.scorings[0]]
    return rated[-1].losses if rated else {}


def _steps(config: RunConfig, trainer: AccelerateLoop) -> str:
    """How many steps an epoch has; where lengths vary, the first one."""
    varies = config.text is not None and config.text.variable_length
    return f"{'about ' if varies else ''}{len(trainer.batches)} steps"


def _candidates(config: RunConfig) -> str:
    curriculum = config.curriculum
    if curriculum is None or not curriculum.active:
        return "no curriculum"
    refresh, every, count = curriculum.refresh, curriculum.every, curriculum.num_candidates
    refreshed = f"every {curriculum.unit}, once per {refresh if every == 1 else f'{every} {refresh}s'}"
    if curriculum.source == "trained":
        return f"the trained paths score {refreshed}"
    return f"{count} subnets score {refreshed}" if count else f"{curriculum.name} reweights {refreshed}"


def search_loop(task: Task, context: RunContext, hooks: Hooks = NONE, ranker: Ranker | None = None) -> SearchLoop:
    """The search of a configuration, at its beginning.

    Args:
        task: the run's data and configuration, see `cnas.runs.task.load_task`.
        context: accelerator, run folder, seed.
        hooks: callbacks.
        ranker: ranks a fixed set of architectures after some epochs.
    """
    config, data = task.config, task.search_data()
    with seeded(config.seed, "supernet"):
        supernet = config.space.build_supernet()
    parts = SearchParts(
        space=config.space,
        supernet=supernet,
        algorithm=_algorithm(config),
        curriculum=config.curriculum,
        train=data.train,
        valid=data.valid,
        arch=data.arch,
    )
    return SearchLoop(parts, config.trainer, context, hooks.callbacks, None if ranker is None else ranker.after_epoch)


def _curriculum(config: RunConfig) -> dict[str, Any]:
    """The fields of the curriculum; K as 0.1.0 called it as well."""
    assert config.curriculum is not None
    return config.curriculum.to_json() | {"k": config.curriculum.num_candidates}


def _algorithm(config: RunConfig) -> Any:
    return config.search.build(config.space, config.seed)


def retrain(task: Task, context: RunContext, architecture: Architecture, hooks: Hooks = NONE) -> RetrainResult:
    """Train the derived network from scratch and measure it.

    Args:
        task: the run's data and configuration, see `cnas.runs.task.load_task`.
        context: accelerator, run folder, seed.
        architecture: which network of the space.
        hooks: callbacks and metrics.

    Returns:
        The network with its best weights, and its figures: perplexities are per word, accuracies in percent.
    """
    config = task.config
    with seeded(config.seed, "network"):
        network = config.space.build_network(architecture, **asdict(config.network))
    train, validate = task.training()
    validate = partial(validate, graphs=context.graphs, **hooks.metrics)
    trainer = Retrainer(network, train, config.retrain, context, validate, hooks.callbacks)
    if not trainer.resume():
        context.log(
            f"retrain: {config.retrain.num_train_epochs} epochs of {_steps(config, trainer)}, "
            f"{parameters(network):,} parameters"
        )
    trainer.train()
    measured = task.measure(network, context.graphs)
    training = {
        "epochs": trainer.progress.epoch,
        "steps": trainer.progress.step,
        "seconds": trainer.progress.seconds,
        "parameters": parameters(network),
        "averaged_from_step": trainer.averaging_since,
        **({} if config.retrain.curriculum is None else {"curriculum": config.retrain.curriculum}),
        **trainer.guard.trouble.counts,
    }
    return measured._replace(figures=training | measured.figures)


def parameters(network: nn.Module) -> int:
    """How many numbers the network learns; tied weights count once."""
    return sum(parameter.numel() for parameter in network.parameters())


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Seed the global generator of torch while the context lasts; then it is as it was.

    Args:
        seed: the run's seed.
        purpose: what is drawn, e.g. ``"supernet"``: initial weights come from torch's global generator.
    """
    # Only the host's generator: networks are built there, and every process has its own accelerators to leave alone.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(generator(seed, purpose).initial_seed())
        yield
