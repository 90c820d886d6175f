"""The stages of a run that take long: search, retraining, measurements. What follows is in `conclude`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn

from cnas.errors import UserError
from cnas.random import generator
from cnas.runs.config import RunConfig
from cnas.runs.folder import RunFolder
from cnas.runs.hooks import NONE, Hooks
from cnas.runs.latency import measure_latency, measured_task
from cnas.runs.rankings import Ranker, load_rankings
from cnas.runs.task import RetrainResult, Task
from cnas.spaces.supernet import SuperNet
from cnas.training.context import RunContext
from cnas.training.loop import AccelerateLoop
from cnas.training.retrain import Retrainer
from cnas.training.search import SearchLoop
from cnas.training.search_parts import SearchParts
from cnas.types import Architecture


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
    ranker = task.ranker(home)
    trainer = search_loop(measure_latency(task, context, home), context, hooks, ranker)
    if not trainer.resume():
        if ranker is not None and context.accelerator.is_main_process:
            ranker.forget()
        context.log(
            f"search: {trainer.config.num_train_epochs} epochs of {_steps(config, trainer)}, {_candidates(config)}"
        )
    outcome = trainer.train()
    figures = {name: getattr(outcome, name) for name in ("epochs", "steps", "seconds", "valid")}
    points = {"front": [asdict(each) for each in outcome.front], "scored": [asdict(each) for each in outcome.scored]}
    found = {
        "string": outcome.architecture and outcome.architecture.to_str(),
        "search": figures | outcome.trouble | {name: each for name, each in points.items() if each},
        "fingerprint": task.fingerprint,
        "supernet_losses": _published(home),
    }
    # The search is over: its optimiser need not be kept through the training.
    context.accelerator.free_memory()
    _keep(found, context, home)
    for point in outcome.front:
        costs = ", ".join(f"{cost:,.6g} {name}" for name, cost in point.costs.items())
        context.log(f"front: {point.architecture}: loss {point.loss:.4f}, {costs}")
    context.log(f"found {found['string'] or f'a front of {len(outcome.front)} architectures'}")
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
        algorithm=config.search.build(config.space, config.seed),
        curriculum=config.curriculum,
        train=data.train,
        valid=data.valid,
        arch=data.arch,
    )
    return SearchLoop(parts, config.trainer, context, hooks.callbacks, None if ranker is None else ranker.after_epoch)


def finished_search(task: Task, context: RunContext) -> SearchLoop:
    """A search as it ended, with the weights that all architectures share; nothing is written.

    Args:
        task: the run's data and configuration.
        context: accelerator, run folder, seed.

    Raises:
        UserError: its checkpoints are gone.
    """
    loop = search_loop(measured_task(task, context.folder), context)
    if not loop.restore():
        raise UserError(f"run {context.folder} has no checkpoints of its search any more")
    # Nothing is trained further: its optimiser need not be kept.
    context.accelerator.free_memory()
    return loop


def retrain(task: Task, context: RunContext, architecture: Architecture, hooks: Hooks = NONE) -> RetrainResult:
    """Train the derived network, from new weights or from those that the search has left for it, and measure it.

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
    begins = not any(context.folder.glob(f"checkpoints/{Retrainer.phase}/step-*"))
    inherited = _inherit(task, context, architecture, network) if begins and config.retrain.start == "supernet" else {}
    trainer = Retrainer(network, train, config.retrain, context, validate, hooks.callbacks)
    trainer.inherited = inherited
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
        **({"inherited": trainer.inherited} if trainer.inherited else {}),
        **({} if config.retrain.curriculum is None else {"curriculum": config.retrain.curriculum}),
        **trainer.guard.trouble.counts,
    }
    return measured._replace(figures=training | measured.figures)


def _inherit(task: Task, context: RunContext, architecture: Architecture, network: Any) -> dict[str, float]:
    """Give a network the weights that the search has left for it; what it measures with them on validation data."""
    found = task.config.space.inherited(finished_search(task, context).parts.supernet, architecture)
    network.load_state_dict(found.state_dict())
    figures = valid_figures(task, network.to(context.device))
    known = ", ".join(f"{name.removeprefix('valid_')} {value:.6g}" for name, value in figures.items())
    context.log(f"retrain: begins with the weights of the search: validation {known}")
    return figures


def valid_figures(task: Task, network: Any) -> dict[str, float]:
    """What a network measures on validation data as it is; the names begin with ``valid_``.

    Args:
        task: the run's data and configuration.
        network: on its device.
    """
    return task.measure(network, valid_only=True).figures


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
