"""Callbacks of `transformers` in the loops: the events, what they see, and the callbacks that every loop has.

All processes call all callbacks. What one of them asks for, every process learns with the next sum that they take
anyway, so the loops stay in step.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torch import nn
from tqdm import tqdm
from transformers import DefaultFlowCallback, TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import CallbackHandler, ExportableState

from cnas.errors import UserError
from cnas.metrics import perplexity
from cnas.training.arguments import LoopArguments
from cnas.training.context import RunContext
from cnas.training.metrics_log import stable
from cnas.training.progress import TrainingProgress


class Requests(NamedTuple):
    """What is asked of a loop at a step: to stop for now (a signal), to end the training, to save."""

    stop: bool
    end: bool
    save: bool


class OwnFlow(DefaultFlowCallback):
    """Says nothing: when the loops validate, log and save by themselves is up to them."""

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """See `TrainerCallback`."""

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """See `TrainerCallback`."""


class ProgressBar(TrainerCallback):
    """A bar over the batches of an epoch, where somebody sees it.

    Args:
        phase: the title begins with it.
    """

    def __init__(self, phase: str) -> None:
        self.phase, self.bar = phase, None

    def on_step_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any) -> None:  # noqa: ARG002
        """Open the bar where there is none."""
        if self.bar is None:
            total, (part, epoch) = len(train_dataloader), math.modf(state.epoch)
            quiet = not (state.is_world_process_zero and sys.stderr.isatty())
            title = f"{self.phase} {int(epoch) + 1}/{state.num_train_epochs}"
            self.bar = tqdm(total=total, initial=round(part * total), desc=title, disable=quiet, leave=False)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """One batch further."""
        if self.bar is not None:
            self.bar.update()

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class EpochReporter(TrainerCallback):
    """Gives the numbers of every epoch to the trackers of Accelerate, see `cnas.training.trackers`, and prints a line.

    Args:
        context: of the run.
        phase: of the loop; names and the line begin with it.
    """

    def __init__(self, context: RunContext, phase: str) -> None:
        self.context, self.phase = context, phase

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        """Track what is finite; print the line, once."""
        finite = {f"{self.phase}/{name}": value for name, value in logs.items() if math.isfinite(value)}
        self.context.accelerator.log(finite, step=state.global_step)
        self.context.log(describe({"phase": self.phase, **logs}, state.num_train_epochs))


class LoopCallbacks:
    """Calls the callbacks of one loop, and keeps what they know and want.

    Args:
        callbacks: of the user, after which our own ones are called.
        config: of the loop; callbacks get it as ``args``.
        context: of the run.
        phase: of the loop.
        model: that is trained.

    Attributes:
        config: with ``greater_is_better`` filled in.
        state: what callbacks get as ``state``.
        control: what callbacks get as ``control``.
    """

    def __init__(
        self,
        callbacks: Sequence[TrainerCallback],
        config: LoopArguments,
        context: RunContext,
        phase: str,
        model: nn.Module,
    ) -> None:
        more = not config.metric_for_best_model.endswith(("loss", "perplexity"))
        self.config = config if config.greater_is_better is not None else replace(config, greater_is_better=more)
        self.context, self.phase, self.bar = context, phase, ProgressBar(phase)
        own = [OwnFlow(), self.bar, EpochReporter(context, phase)]
        self.handler = CallbackHandler([*own, *callbacks], model, None, None, None)
        self.control = TrainerControl()
        self.state = TrainerState(
            num_train_epochs=config.num_train_epochs,
            is_local_process_zero=context.accelerator.is_local_main_process,
            is_world_process_zero=context.accelerator.is_main_process,
        )

    def call(self, event: str, progress: TrainingProgress, batches: Any, optimizer: Any, **more: Any) -> None:
        """Call one event of all callbacks.

        Args:
            event: its name, e.g. ``on_step_end``.
            progress: where the loop is.
            batches: of the epoch.
            optimizer: of the weights.
            more: what this event has beside.
        """
        self.handler.train_dataloader, self.handler.optimizer = batches, optimizer
        self.state.global_step, self.state.epoch = progress.step, progress.epoch + progress.batch / len(batches)
        self.state.max_steps = self.config.num_train_epochs * len(batches)
        # Not the handler's own methods: some of them forget what was asked for, which may have been read from a file.
        self.control = self.handler.call_event(event, self.config, self.state, self.control, **more)

    def end_epoch(self, row: Mapping[str, Any], *where: Any) -> None:
        """Call the events that follow an epoch, with the numbers of its row of ``metrics.jsonl``.

        Args:
            row: what the loop reports.
            where: as of `call`.
        """
        self.call("on_epoch_end", *where)
        if metrics := evaluation(row):
            place = {"epoch": self.state.epoch, "step": self.state.global_step}
            self.state.log_history.append(metrics | place)
            self.call("on_evaluate", *where, metrics=metrics)
            if self.improves(metrics):
                self.state.best_metric, self.state.best_global_step = self.metric(metrics), self.state.global_step
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        self.state.log_history.append(stable(numbers))
        self.call("on_log", *where, logs=numbers)

    def metric(self, metrics: Mapping[str, float]) -> float:
        """What validation compares by.

        Args:
            metrics: as callbacks get them in ``on_evaluate``.

        Raises:
            UserError: nobody has computed it.
        """
        wanted = self.config.metric_for_best_model
        found = metrics.get(f"eval_{wanted.removeprefix('eval_')}")
        if found is None:
            known = ", ".join(name.removeprefix("eval_") for name in metrics)
            raise UserError(f"metric_for_best_model of the {self.phase} must be one of {known}, got {wanted!r}")
        return found

    def improves(self, metrics: Mapping[str, float]) -> bool:
        """Whether validation is better than the best one before."""
        value, best = self.metric(metrics), self.state.best_metric
        return best is None or math.isnan(best) or (value > best if self.config.greater_is_better else value < best)

    def requests(self, stop: bool) -> Requests:
        """What this process asks for; ``should_save`` is forgotten with it.

        Args:
            stop: whether a signal asks for a stop.
        """
        found = Requests(stop, self.control.should_training_stop, self.control.should_save)
        self.control.should_save = False
        return found

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs: history, best value, requests, and what callbacks keep."""
        state = {name: getattr(self.state, name) for name in ("log_history", "best_metric", "best_global_step")}
        control = {name: getattr(self.control, name) for name in ("should_training_stop", "should_save")}
        return {"state": state, "control": control, "callbacks": [*map(list, self._states())]}

    def _states(self) -> list[tuple[str, Any]]:
        found = []
        for callback in self.handler.callbacks:
            if isinstance(callback, ExportableState):
                found.append((type(callback).__name__, callback.state()))
            elif hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict"):
                found.append((type(callback).__name__, callback.state_dict()))
        return found

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`: callbacks of a class get their states in order."""
        for target, values in ((self.state, saved["state"]), (self.control, saved["control"])):
            for name, value in values.items():
                setattr(target, name, list(value) if isinstance(value, list) else value)
        left = [*self.handler.callbacks]
        for name, values in saved["callbacks"]:
            callback = next((each for each in left if type(each).__name__ == name), None)
            if callback is None:
                self.context.log(f"warning: the {self.phase} was saved with a callback {name}, which is not here now")
                continue
            left.remove(callback)
            if isinstance(callback, ExportableState):
                for attribute, value in (values["args"] | values["attributes"]).items():
                    setattr(callback, attribute, value)
            else:
                callback.load_state_dict(values)


def evaluation(row: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a validation as callbacks get them.

    Example:
        >>> evaluation({"epoch": 1, "train_loss": 2.0, "valid_loss": 3.0})
        {'eval_loss': 3.0}
    """
    figures = {name: value for name, value in row.items() if name.startswith("valid_")}
    numbers = {name: value for name, value in figures.items() if isinstance(value, int | float)}
    return {f"eval_{name.removeprefix('valid_')}": value for name, value in numbers.items()}


def describe(row: dict[str, Any], epochs: int) -> str:
    """One line of progress for a person.

    Example:
        >>> describe({"phase": "search", "epoch": 1, "train_loss": 0.0, "valid_perplexity": 2.5}, 3)
        'search 1/3  train perplexity 1.0  valid perplexity 2.5'
    """
    words = [f"{row['phase']} {row['epoch']}/{epochs}"]
    if "valid_accuracy" in row:
        words += [f"train loss {row['train_loss']:.3f}", f"valid accuracy {row['valid_accuracy']:.2f} %"]
    else:
        words.append(f"train perplexity {_readable(perplexity(row['train_loss']))}")
    if "valid_perplexity" in row:
        words.append(f"valid perplexity {_readable(row['valid_perplexity'])}")
    if "weight_min" in row:
        words.append(f"v {row['weight_min']:.2f} to {row['weight_max']:.2f}")
    if "reward" in row:
        words.append(f"reward {row['reward']:.3f}")
    if "epoch_seconds" in row:
        words.append(f"{row['epoch_seconds']:.0f} s")
    return "  ".join(words)


def _readable(perplexity: float) -> str:
    return f"{perplexity:.1f}" if perplexity < 1e6 else "above 1e6"
