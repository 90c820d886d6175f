"""What does not fit together in a configuration, said before anything is trained or written."""

from __future__ import annotations

from collections.abc import Sized

from transformers import EarlyStoppingCallback

from cnas import algorithms
from cnas.algorithms.base import AlgorithmConfig
from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.runs.hooks import Hooks
from cnas.spaces.base import SearchSpace
from cnas.training.loop_arguments import LoopArguments


def check_metrics(config: RunConfig, hooks: Hooks) -> None:
    """Raise a `UserError` where a loop compares by what nobody computes.

    Args:
        config: of the run.
        hooks: with ``compute_metrics``, names are known when it is first called.
    """
    retrain, known = config.retrain, ("loss", "perplexity" if config.images is None else "accuracy")
    loops: dict[str, LoopArguments] = {} if config.architecture else {"trainer": config.trainer}
    if retrain.num_train_epochs:
        loops |= {} if hooks.compute_metrics else {"retrain": retrain}
        begins = [getattr(type(each), "on_train_begin", None) for each in hooks.callbacks]
        if retrain.eval_strategy == "no" and EarlyStoppingCallback.on_train_begin in begins:
            raise UserError("retrain.eval_strategy must be epoch for an EarlyStoppingCallback, got 'no'")
    for section, loop in loops.items():
        if (wanted := loop.metric_for_best_model).removeprefix("eval_") not in known:
            raise UserError(f"{section}.metric_for_best_model must be one of {', '.join(known)}, got {wanted!r}")


def check_start(config: RunConfig) -> None:
    """Raise a `UserError` where the training is to begin with weights that the search cannot leave for it."""
    space, why = config.space, None
    if not space.inherits:
        why = f"with space {space.name}, whose networks cannot take the weights of its supernet"
    elif config.architecture is not None:
        why = "where the run does not search itself, since its architecture is given"
    if why and config.retrain.start == "supernet":
        raise UserError(f"retrain.start must be new {why}, got 'supernet'")


def check_relaxation(search: AlgorithmConfig, space: SearchSpace) -> None:
    """Raise a `UserError` where an algorithm runs mixtures of operations and the space has none."""
    if search.algorithm.needs_relaxation and not space.relaxable:
        kinds = {name: algorithms.default_config(name).algorithm for name in algorithms.names()}
        fit = ", ".join(name for name, kind in kinds.items() if not kind.needs_relaxation)
        raise UserError(f"search.name {search.name} needs mixtures, which space {space.name} does not run; use {fit}")


def warmup_remark(prefix: str, loop: LoopArguments, batches: Sized) -> list[str]:
    """A line where the learning rate rises to the end of a loop.

    Args:
        prefix: of the field.
        loop: its arguments.
        batches: of an epoch.
    """
    steps, warmup = loop.num_train_epochs * len(batches), loop.warmup_steps
    return [f"warning: {prefix}warmup_steps is {warmup}, and there are {steps} steps"] if warmup >= steps else []
