"""The same training on one process and on two; each process runs every case and the main one keeps the numbers.

Legend: B rows of the global batch.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tiny_recipe
import torch
from accelerate import Accelerator
from builders import algorithm_config, build_space
from recording import recording

from cnas.curricula import Uncertainty
from cnas.errors import Stopped
from cnas.runs.config import RunConfig
from cnas.runs.pipeline import search_loop
from cnas.runs.task import Task, load_task
from cnas.training.context import RunContext
from cnas.training.loop import AccelerateLoop
from cnas.training.retrain import Retrainer
from cnas.training.step_graphs import StepGraphs

CURRICULA = {"none": None} | {
    f"{refresh}-{unit}": Uncertainty(num_candidates=3, refresh=refresh, unit=unit)
    for refresh in ("epoch", "step")
    for unit in ("sequence", "token")
}
TRAINED = Uncertainty(source="trained", refresh="step", unit="token")
OTHERS = {
    "rsps-darts_rnn": ("rsps", "darts_rnn", "epoch-sequence"),
    "enas-darts_rnn": ("enas", "darts_rnn", "none"),
    "darts_v1-darts_rnn": ("darts_v1", "darts_rnn", "step-token"),
    "darts_v2-darts_rnn": ("darts_v2", "darts_rnn", "epoch-token"),
    "darts_v2-enas_rnn": ("darts_v2", "enas_rnn", "step-sequence"),
    "gdas-enas_rnn": ("gdas", "enas_rnn", "epoch-sequence"),
    "spos-enas_rnn": ("spos", "enas_rnn", "epoch-token"),
    "rsps-gpt": ("rsps", "gpt", "epoch-token"),
    "sandwich-gpt": ("sandwich", "gpt", "trained"),
    "recorded": ("enas", "enas_rnn", "step-token"),
    "recorded-normed": ("darts_v1", "darts_rnn", "none"),
}
"""(algorithm, space, curriculum) of the cases beside ENAS on its own space; steps are recorded where the name says so.
One of several processes runs steps as they are where these normalise over all."""
CASES = [*CURRICULA, *OTHERS, "accumulated", "retrain", "recorded-retrain"]
SLOW = {"epoch-sequence", "step-token"}
SLOW |= {"rsps-darts_rnn", "enas-darts_rnn", "darts_v1-darts_rnn", "darts_v2-enas_rnn", "spos-enas_rnn"}
"""Cases for the long tests; the others have every curriculum's refresh and unit, every kind of algorithm and space."""
HALVES = ("epoch-token", "darts_v2-darts_rnn", "rsps-gpt")
"""The cases that are also left half-way, to be gone on with by another number of processes."""
BOTH = {"none", "step-sequence"}
"""Cases of both precisions. Normalising five rows enlarges rounding up to 316 times, and Adam takes a step of full size
on an α whose gradient is little but rounding: in float32 that hides what float64 proves."""
UNROLLED = {"darts_v2-darts_rnn", "darts_v2-enas_rnn"}
"""Cases in which rounding is divided by the step of a finite difference, 100 times and more."""
EXTRA = {(case, "float32") for case in CASES if case not in BOTH}
"""Proved in float64 alone."""
DTYPES = {"float64": torch.float64, "float32": torch.float32}


def run_cases(home: Path, out: Path, world: int, cases: list[str], halves: Path | None) -> int:
    """The cases in both precisions; a half-way run in ``out``, and the one in ``halves`` gone on with."""
    os.chdir(home)
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    assert accelerator.num_processes == world == int(os.environ["WORLD_SIZE"])
    if world > 1:
        assert torch.distributed.get_backend() == "gloo"
        assert torch.distributed.get_world_size() == world
    results: dict[Any, Any] = {}
    for name, dtype in DTYPES.items():
        for case in cases:
            if (case, name) in EXTRA:
                continue
            results[case, name] = numbers(train(case, dtype, accelerator, out / f"{case}-{name}"))
    for case in HALVES:
        if cases:  # Of a world that only goes on nobody takes over.
            train(case, torch.float64, accelerator, out / "half" / case, stop_after=14)
        if halves is not None:
            loop = train(case, torch.float64, accelerator, halves / case, resume=True)
            results["resumed", case] = numbers(loop)
    results["differ"] = disagreement(accelerator, results)
    if accelerator.is_main_process:
        torch.save(results, out / "results.pt")
    accelerator.end_training()
    return 0


def train(
    case: str, dtype: torch.dtype, accelerator: Accelerator, folder: Path, stop_after: int = 0, resume: bool = False
) -> AccelerateLoop:
    """20 steps or more of one case, from the start or from what is in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    graphs = recording() if case.startswith("recorded") else StepGraphs()
    context = RunContext(accelerator, folder, seed=1, config_hash="same", graphs=graphs)
    loop = build(case, dtype, context)
    assert loop.batches.batch_size % 2 == 1, "an uneven share is part of the test"
    if resume:
        assert loop.resume()
        assert loop.progress.step == 14
    if stop_after:
        original = loop.train_step

        def train_step(index: int) -> bool:
            # The other process hears of it from the first one.
            if loop.progress.step + 1 == stop_after and accelerator.is_main_process:
                context.stop.request("the test")
            return original(index)

        loop.train_step = train_step  # type: ignore[method-assign]
    try:
        loop.run()
        runs_as_it_is = case == "recorded-normed" and accelerator.num_processes > 1
        assert bool(graphs.describe().get("graphs")) is (graphs.active and not runs_as_it_is)
        assert not stop_after
        assert loop.progress.step >= 20
    except Stopped:
        assert loop.progress.step == stop_after
    return loop


def build(case: str, dtype: torch.dtype, context: RunContext) -> AccelerateLoop:
    config = _config(case)
    config = replace(
        config,
        trainer=replace(config.trainer, num_train_epochs=2),
        retrain=replace(config.retrain, num_train_epochs=2, average_from=2),
    )
    if case == "accumulated":
        config = replace(config, trainer=replace(config.trainer, micro_batch_size=2))
    task = load_task(config)
    if case.endswith("retrain"):
        return _retrainer(task, dtype, context)
    loop = search_loop(task, context)
    _convert(loop, dtype)
    if loop.curriculum is not None:
        loop.curriculum.state["v"] = loop.curriculum.v.to(dtype)
    return loop


def _config(case: str) -> RunConfig:
    config = tiny_recipe.tiny()
    if case not in OTHERS:
        return replace(config, curriculum=CURRICULA.get(case))
    algorithm, space, curriculum = OTHERS[case]
    built = build_space(space)
    sizes = {name: getattr(config.space, name) for name in ("hidden_size", "init_range") if hasattr(built, name)}
    return replace(
        config,
        space=replace(built, **sizes),
        network=config.network if isinstance(config.network, built.network_sizes) else built.network_sizes(),
        search=algorithm_config(algorithm),
        # At a rate at which training diverges, rounding would grow with it.
        trainer=replace(config.trainer, learning_rate=1.0),
        curriculum=TRAINED if curriculum == "trained" else CURRICULA[curriculum],
    )


def _retrainer(task: Task, dtype: torch.dtype, context: RunContext) -> Retrainer:
    torch.manual_seed(0)
    space = task.config.space
    network = space.build_network(space.parse("0 0 1 1"), vocab_size=task.config.network.vocab_size)
    streams, validate = task.training()
    validate = partial(validate, graphs=context.graphs)
    loop = Retrainer(network, streams, task.config.retrain, context, validate)
    _convert(loop, dtype)
    return loop


def _convert(loop: AccelerateLoop, dtype: torch.dtype) -> None:
    loop.model.to(dtype)
    loop.optimizer = loop.make_optimizer()


def numbers(loop: AccelerateLoop) -> dict[str, torch.Tensor]:
    """Everything that must agree, as float64."""
    found = {f"weights/{name}": value.double() for name, value in loop.model.state_dict().items()}
    state = loop.state()
    for part in ("algorithm", "curriculum", "best"):
        found |= {f"{part}/{name}": value for name, value in _tensors(state.get(part) or {}).items()}
    if loop.log.path is not None:
        from cnas.training.metrics_log import read, stable

        for row in map(stable, read(loop.log.path)):
            place = f"{row['phase']}/{row['epoch']}"
            found |= {f"{place}/{key}": torch.tensor(float(v)) for key, v in row.items() if isinstance(v, float | int)}
    return found


def _tensors(tree: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return {prefix: tree.detach().double().clone()}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    return {name: value for key, item in items for name, value in _tensors(item, f"{prefix}/{key}").items()}


def disagreement(accelerator: Accelerator, results: dict[Any, dict[str, torch.Tensor]]) -> float:
    """How far the processes' own copies of the weights are apart."""
    weights = [v.flatten() for part in results.values() for k, v in part.items() if k.startswith("weights/")]
    flat = torch.cat(weights)
    return float((accelerator.gather(flat[None]) - flat).abs().max())
