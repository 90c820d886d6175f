"""What can be asked about a search that is over: its best architectures, how good the found one is on any data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from cnas.data.base import OrderedBatches
from cnas.errors import UserError
from cnas.runs.folder import RunFolder, chosen
from cnas.runs.hooks import Hooks
from cnas.runs.pipeline import finished_search, parameters, seeded
from cnas.runs.task import Task
from cnas.training.batch import run_network
from cnas.training.context import RunContext
from cnas.training.evaluate import Compute, Predictions, Preprocess
from cnas.training.metrics_log import read
from cnas.training.search import SearchLoop
from cnas.types import Architecture, Candidate, FrontPoint, ScoredPoint, SearchResult

ATTEMPTS = 10
"""So often an algorithm is asked for architectures, where it proposes the same ones again."""


def ranked(
    task: Task, context: RunContext, found: Architecture | None, count: int, scored: Sequence[Architecture] = ()
) -> list[Candidate]:
    """The best of the found architecture and those the algorithm proposes, by validation loss with shared weights.

    Args:
        task: the run's data and configuration.
        context: accelerator, run folder, seed.
        found: by the search; None where that is a front.
        count: how many.
        scored: by the search, the best first; those within its limit come before what the algorithm proposes.

    Raises:
        UserError: ``count`` is below 1 or above the number of architectures.
    """
    loop = finished_search(task, context)
    most = loop.algorithm.space.size
    if not 1 <= count <= most:
        raise UserError(f"count must be between 1 and {most}, the number of architectures, got {count}")
    best = [one for one in scored if loop.algorithm.space.is_connected(one)]
    distinct = dict.fromkeys([*([found] if found else []), *best[:count]])
    for attempt in range(ATTEMPTS):
        if len(distinct) <= count:
            distinct |= dict.fromkeys(loop.algorithm.candidates(count, context.generator("top", attempt)))
    losses = sorted(zip(loop.validation_losses([*distinct]), distinct, strict=True), key=lambda pair: pair[0])
    return [Candidate(architecture, loss, *_size(task, architecture)) for loss, architecture in losses[:count]]


def search_result(
    task: Task, home: RunFolder, found: Mapping[str, Any], looking: Callable[[], RunContext]
) -> SearchResult:
    """A finished search, with what can be asked about it.

    Args:
        task: the run's data and configuration.
        home: the run folder.
        found: the contents of ``search.json``.
        looking: gives a context in which nothing is written.
    """
    figures = dict(found["search"])
    front = tuple(FrontPoint(**point) for point in figures.pop("front", []))
    scored = tuple(ScoredPoint(**point) for point in figures.pop("scored", []))
    named = {name: figures.pop(name) for name in ("epochs", "steps", "seconds", "valid")}
    architecture = None if found["string"] is None else task.config.space.parse(found["string"])
    history = tuple(row for row in read(home.path / "metrics.jsonl") if row["phase"] == "search")

    def top(count: int) -> list[Candidate]:
        best = [task.config.space.parse(each.architecture) for each in sorted(scored, key=lambda each: each.loss)]
        return ranked(task, looking(), architecture, count, best)

    return SearchResult(architecture, **named, trouble=figures, history=history, ranked=top, front=front, scored=scored)


def _size(task: Task, architecture: Architecture) -> tuple[int, int]:
    """Parameters of the network of an architecture, and operations of its matrix products for one token or image."""
    costs = task.config.space.costs(architecture)
    if {"parameters", "flops"} <= costs.keys():
        return int(costs["parameters"]), int(costs["flops"])
    with seeded(task.config.seed, "network"):
        network = task.config.space.build_network(architecture, **asdict(task.config.network)).eval()
    batch = task.search_data().valid.batch(0, slice(0, 1))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run_network(network, batch)
    return parameters(network), counter.get_total_flops() // batch.labels.numel()


def measure_subnet(task: Task, context: RunContext, home: RunFolder, data: Any, hooks: Hooks) -> dict[str, float]:
    """The figures of the found architecture with the weights that all architectures share.

    Args:
        task: the run's data and configuration.
        context: in which nothing is written.
        home: the run folder.
        data: what `Task.read` gave; None is the validation split.
        hooks: metrics.

    Raises:
        UserError: nothing was found yet.
    """
    found = home.read_json("search.json")
    if found is None:
        raise UserError(f"output_dir {home.path} holds no finished search; call search, or train")
    architecture, loop = task.config.space.parse(chosen(found)), finished_search(task, context)
    return measure(loop, architecture, task.valid_batches(data), **hooks.metrics)


def measure(
    loop: SearchLoop,
    architecture: Architecture,
    batches: OrderedBatches,
    compute_metrics: Compute | None = None,
    preprocess_logits_for_metrics: Preprocess | None = None,
) -> dict[str, float]:
    """The figures of an architecture with the shared weights of a search.

    Args:
        loop: the search.
        architecture: connected, of the space.
        batches: of the kind that the search's validation batches are.
        compute_metrics: see `cnas.training.evaluate.evaluate_network`.
        preprocess_logits_for_metrics: likewise.

    Raises:
        UserError: there is ``compute_metrics``, and the supernet has no logits.
    """
    metrics: dict[str, float] = {}
    if compute_metrics is not None:
        kept = Predictions(preprocess_logits_for_metrics)
        loop.scorer.predictions(architecture, batches, kept)
        metrics = kept.metrics(compute_metrics)
    return metrics | loop.figures(architecture, batches)
