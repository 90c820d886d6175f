"""The stages of a run: search, retraining, measurements, model folder, card and report."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from cnas.errors import CnasError, StorageError, UserError
from cnas.random import generator
from cnas.reports.report import report_run
from cnas.runs.config import RunConfig
from cnas.runs.devices import environment, make_accelerator
from cnas.runs.folder import RunFolder, scalars
from cnas.runs.lock import lock
from cnas.runs.result import RunResult
from cnas.runs.task import RetrainResult, Task, load_task
from cnas.training.context import RunContext, StopSignal
from cnas.training.distributed import ProcessGroup
from cnas.training.loop import AccelerateLoop
from cnas.training.metrics_log import json_safe
from cnas.training.retrain import Retrainer
from cnas.training.search import SearchLoop, SearchParts
from cnas.training.trackers import start_trackers
from cnas.types import Architecture

RANKED = 100
"""So many random architectures show how well the shared weights rank, where a benchmark knows the true order."""


def run(
    config: RunConfig,
    folder: Path | str | None = None,
    *,
    resume: bool = False,
) -> dict[str, Any]:
    """Do everything a configuration says; returns what ``result.json`` holds.

    Args:
        config: e.g. what a recipe's preset returns.
        folder: of the run; ``config.default_folder`` where None.
        resume: go on from the newest checkpoint, or start where there is none.

    Raises:
        UserError: a field, a file or the folder is wrong, or another process is at work in it; raised before any
            training.
        CheckpointError, NonFiniteError, ProcessGroupError, StorageError, Stopped: see `cnas.errors`.
    """
    home = RunFolder(Path(folder or config.default_folder))
    accelerator = make_accelerator(config, home.path)

    @functools.cache
    def task() -> Task:
        return load_task(config)

    def check() -> dict[str, Any] | None:
        return home.check(config, lambda: task().fingerprint, resume=resume)

    finished = check()
    if finished is not None:
        if accelerator.is_main_process:
            print(f"finished already: {home.path / 'result.json'}", flush=True)
        return finished
    home.check_data(config, task().fingerprint)
    task().check(accelerator.num_processes)
    stop = StopSignal()
    # Signals first, so that no moment is left in which one takes the process and leaves the lock.
    with stop.on_signals(), stop.on_launcher_exit(), _locked(home, accelerator, check):
        _start(home, config, accelerator, resume)
        stamp = f"{home.config_hash(config)}-{task().fingerprint}"
        context = RunContext(accelerator, home.path, config.seed, stamp, stop, config.trainer.check_ranks)
        for remark in task().remarks():
            context.log(remark)
        try:
            result = _pipeline(task(), context, home, resume)
        finally:
            accelerator.end_training()
    return result


@contextmanager
def _locked(home: RunFolder, accelerator: Accelerator, check: Callable[[], dict[str, Any] | None]) -> Iterator[None]:
    """The main process has the lock of the folder while the context lasts; every process learns whether it got it."""
    # Nobody may meet a folder that the main process has just filled, so all have checked it before it writes.
    processes = ProcessGroup(accelerator)
    processes.wait()
    problem: CnasError | None = None
    with ExitStack() as stack:
        if accelerator.is_main_process:
            try:
                stack.enter_context(lock(home.path))
                # Another run may have begun and ended here since the first check.
                if check() is not None:
                    raise UserError(f"run {home.path} was finished by another process meanwhile")
            except CnasError as error:
                problem = error
        (failed,) = processes.sum_numbers(float(problem is not None))
        if failed:
            raise problem or UserError(f"the main process could not begin the run in {home.path}")
        yield


def _start(home: RunFolder, config: RunConfig, accelerator: Accelerator, resume: bool) -> None:
    # Before the folder holds a run: a tracker that does not start leaves it free for the next try.
    start_trackers(accelerator, home.path, scalars(config.to_json()), resume=resume)
    if accelerator.is_main_process:
        home.start(config)
        if resume and not home.has_progress():
            print(f"nothing to resume in {home.path}: starting from the beginning", flush=True)


def _pipeline(task: Task, context: RunContext, home: RunFolder, resume: bool) -> dict[str, Any]:
    config = task.config
    found = search(task, context, home, resume=resume)
    architecture = config.space.parse(found["string"])
    trained = retrain(task, context, architecture, resume=resume) if config.retrain.num_train_epochs else None
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
        "environment": environment(context.accelerator),
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
    return result.to_json()


def search(task: Task, context: RunContext, home: RunFolder, *, resume: bool) -> dict[str, Any]:
    """The architecture's string and the search's figures, from ``search.json`` where the search is over.

    Args:
        task: the run's data and configuration, see `cnas.runs.task.load_task`.
        context: accelerator, run folder, seed.
        home: the run folder; ``search.json`` is written there by the main process.
        resume: go on from the newest checkpoint of the search, where there is one.

    Returns:
        ``{"string": ..., "search": ...}``; where nothing is searched (``options.architecture``) the latter is None.
    """
    config = task.config
    if config.architecture is not None:
        return {"string": config.space.parse(config.architecture).to_str(), "search": None}
    known = home.read_json("search.json")
    if known is not None:
        context.log(f"the search is finished: found {known['string']}")
        return known
    trainer = build_trainer(task, context)
    if not (resume and trainer.resume()):
        context.log(
            f"search: {trainer.config.num_train_epochs} epochs of {_steps(config, trainer)}, {_candidates(config)}"
        )
    outcome = trainer.train()
    figures = {name: getattr(outcome, name) for name in ("epochs", "steps", "seconds", "valid")}
    found = {
        "string": outcome.architecture.to_str(),
        "search": figures | outcome.trouble,
        "fingerprint": task.fingerprint,
        "supernet_losses": _supernet_losses(task, trainer),
    }
    # The search is over: its optimiser need not be kept through the training.
    context.accelerator.free_memory()
    if context.accelerator.is_main_process:
        home.write_json("search.json", found)
    context.log(f"found {found['string']}")
    return found


def _supernet_losses(task: Task, trainer: SearchLoop) -> dict[str, float]:
    """Validation losses with shared weights of random architectures, where a benchmark knows what these are worth."""
    if not task.has_benchmark:
        return {}
    space, seed = task.config.space, task.config.seed
    drawn = (space.sample(generator(seed, "supernet_losses", index)) for index in range(RANKED))
    distinct = list(dict.fromkeys(drawn))
    losses = zip(distinct, trainer.validation_losses(distinct), strict=True)
    return {architecture.to_str(): loss for architecture, loss in losses if math.isfinite(loss)}


def _steps(config: RunConfig, trainer: AccelerateLoop) -> str:
    """How many steps an epoch has; where lengths vary, the first one."""
    varies = config.text is not None and config.text.variable_length
    return f"{'about ' if varies else ''}{len(trainer.batches)} steps"


def _candidates(config: RunConfig) -> str:
    curriculum = config.curriculum
    if curriculum is None or not curriculum.active:
        return "no curriculum"
    count, refreshed = curriculum.num_candidates, f"every {curriculum.unit}, once per {curriculum.refresh}"
    return f"{count} subnets score {refreshed}" if count else f"{curriculum.name} reweights {refreshed}"


def build_trainer(task: Task, context: RunContext) -> SearchLoop:
    """The trainer of a configuration, at its beginning.

    Args:
        task: the run's data and configuration, see `cnas.runs.task.load_task`.
        context: accelerator, run folder, seed.
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
    return SearchLoop(parts, config.trainer, context)


def _curriculum(config: RunConfig) -> dict[str, Any]:
    """The fields of the curriculum; K as 0.1.0 called it as well."""
    assert config.curriculum is not None
    return config.curriculum.to_json() | {"k": config.curriculum.num_candidates}


def _algorithm(config: RunConfig) -> Any:
    return config.search.build(config.space, config.seed)


def retrain(task: Task, context: RunContext, architecture: Architecture, *, resume: bool) -> RetrainResult:
    """Train the derived network from scratch and measure it.

    Args:
        task: the run's data and configuration, see `cnas.runs.task.load_task`.
        context: accelerator, run folder, seed.
        architecture: which network of the space.
        resume: go on from the newest checkpoint of the retraining, where there is one.

    Returns:
        The network with its best weights, and its figures: perplexities are per word, accuracies in percent.
    """
    config = task.config
    with seeded(config.seed, "network"):
        network = config.space.build_network(architecture, **asdict(config.network))
    train, validate = task.training()
    trainer = Retrainer(network, train, config.retrain, context, validate)
    if not (resume and trainer.resume()):
        context.log(
            f"retrain: {config.retrain.num_train_epochs} epochs of {_steps(config, trainer)}, "
            f"{parameters(network):,} parameters"
        )
    trainer.train()
    measured = task.measure(network)
    training = {
        "epochs": trainer.progress.epoch,
        "steps": trainer.progress.step,
        "seconds": trainer.progress.seconds,
        "parameters": parameters(network),
        "averaged_from_step": trainer.averaging_since,
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
