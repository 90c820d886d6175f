"""Training the derived network: SGD, then averaged SGD once validation stops improving.

NT-ASGD is Merity et al. (2018): averaging starts when the validation loss is worse than the best of all but the last
``nonmonotone`` epochs; from then on the averaged weights are evaluated and kept. No sample is reweighted here (paper,
§3.5), unless ``RetrainArguments.curriculum`` names a curriculum, for which the network's own losses count.

Legend: b rows of this process, T tokens, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from cnas.curricula import Curriculum, curriculum_class
from cnas.data.base import OrderedBatches
from cnas.errors import NonFiniteError, UserError
from cnas.random import HOST
from cnas.spaces.pure import PureForward, network_forward
from cnas.training.arguments import RetrainArguments
from cnas.training.batch import run_network
from cnas.training.callbacks import Requests, evaluation
from cnas.training.context import RunContext
from cnas.training.loop import AccelerateLoop
from cnas.training.optimizers import averaged_sgd
from cnas.training.scoring import network_units
from cnas.training.search_parts import is_text, set_up
from cnas.training.weight_step import Pass
from cnas.types import Batch, Output


def retrain_curriculum(name: str, *, words: bool) -> Curriculum:
    """A curriculum whose only candidate, where it needs one, is the network that is trained.

    Args:
        name: of the curriculum.
        words: whether the data is text.

    Raises:
        UserError: there is none of that name, or it needs several candidates.
    """
    kind = curriculum_class(name)
    if kind.min_candidates > 1:
        raise UserError(f"retrain.curriculum must do with one candidate, the network itself, got {name!r}")
    if kind.needs_words and not words:
        raise UserError(f"retrain.curriculum {name!r} is for text; the data is images")
    return kind(num_candidates=kind.min_candidates, unit="sequence" if words else "sample")


class Retrainer(AccelerateLoop):
    """Trains a stand-alone network and keeps the weights that were best on validation data, or the last ones.

    Args:
        network: a derived network (it has ``run``).
        train: training batches.
        config: sizes of the loop.
        context: accelerator, run folder, seed.
        validate: figures of the network as it stands; ``valid_loss`` is the mean validation loss.
        callbacks: called at the events of the loop.

    Raises:
        UserError: batches are cut into parts, and the network normalises over whole ones.
    """

    phase = "retrain"
    config: RetrainArguments
    averaging_since: int | None = None
    """The step at which averaging began."""
    inherited: Mapping[str, float] = MappingProxyType({})
    """What the network measured before its first step, where its weights are those of a search."""

    def __init__(
        self,
        network: Any,
        train: OrderedBatches,
        config: RetrainArguments,
        context: RunContext,
        validate: Callable[[Any], Mapping[str, float]],
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        if getattr(network, "batch_statistics", False):
            config.check_whole_batches("retrain.")
        super().__init__(network, train, config, context, callbacks)
        self.network, self.validate = network, validate
        known = None if config.curriculum is None else retrain_curriculum(config.curriculum, words=is_text(train))
        self.curriculum = set_up(known, train, context.seed, context.device)
        self.history: list[float] = []
        self.best: dict[str, Tensor] = {}

    def train(self) -> Any:
        """Train to the last epoch, from wherever the loop is; the network ends with its best weights.

        Raises:
            UserError: nobody computes ``metric_for_best_model``, which a validation of the new network shows.
            Stopped, NonFiniteError, StorageError, ProcessGroupError: as `run`.
        """
        validates = self.config.eval_strategy == "epoch"
        if validates and self.config.metric_for_best_model != "loss" and not self.progress.step:
            self.callbacks.metric(evaluation(self.validate(self.network)))
        self.run()
        self.network.load_state_dict(self.best)
        return self.network

    def train_step(self, index: int) -> Requests:
        """One update of the weights, in which every unit counts the same, or as the curriculum says."""
        return self.weight_step(
            index, self.in_parts(self.fetch(index), self.curriculum), [Pass(self.forward, self.pure)]
        )

    def forward(self, batch: Batch) -> Output:
        """Run the network."""
        return run_network(self.network, batch)

    def pure(self, batch: Batch) -> PureForward | None:
        """`forward` as a function of tensors, where it is to be had."""
        return network_forward(self.network, batch)

    def finish_epoch(self) -> dict[str, Any]:
        """Validate, keep the best weights or these, and start averaging where it is time to.

        Raises:
            NonFiniteError: the validation loss is NaN or infinite.
        """
        with self.averaged_weights():
            figures = self._figures() if self.config.eval_strategy == "epoch" else {}
            if not self.config.load_best_model_at_end or self.callbacks.improves(evaluation(figures)):
                self.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        averaged = self.averaging_since is not None
        if figures:
            self.history.append(figures["valid_loss"])
        if not averaged and self._time_to_average():
            self.averaging_since = self.progress.step
            self.optimizer = self.make_optimizer()
        return {**figures, "averaged": averaged, **self._reweight()}

    def _reweight(self) -> dict[str, Any]:
        """Let the curriculum look at the network's losses; the weights that the epoch was trained with."""
        if self.curriculum is None:
            return {}
        used = self.curriculum.statistics() | self.curriculum.traces()
        progress = self.training_progress(len(self.batches))
        if self.curriculum.due(progress):
            count = self.batches.num_units
            ids_U, losses_KU = torch.arange(count, device=HOST), torch.empty(0, count, device=HOST)
            if self.curriculum.num_candidates:
                ids_U, losses_KU = network_units(self.network, self.batches.scoring_view(), self.context)
            self.guard.trouble = self.guard.trouble.without(self.curriculum.update(ids_U, losses_KU, progress))
        return used

    def _figures(self) -> dict[str, float]:
        """What `validate` says: on every process what it says on the main one, so that no rounding parts their ways."""
        found = self.validate(self.network)
        figures = dict(zip(found, self.processes.from_main(*found.values()), strict=True))
        if not math.isfinite(loss := figures["valid_loss"]):
            raise NonFiniteError(f"the validation loss became {loss}")
        return figures

    def _time_to_average(self) -> bool:
        latest = self.config.average_from
        past = [] if self.config.nonmonotone is None else self.history[: -self.config.nonmonotone - 1]
        return (latest is not None and self.progress.epoch + 2 >= latest) or (
            bool(past) and self.history[-1] > min(past)
        )

    def make_optimizer(self) -> Any:
        """SGD until averaging starts, averaged SGD from there on."""
        if self.averaging_since is None:
            return super().make_optimizer()
        return self.accelerator.prepare(averaged_sgd(self.model.parameters(), self.config))

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The network holds the running average of its weights while the context lasts, where there is one."""
        state = self.optimizer.state
        averages = {p: state[p]["ax"] for p in self.network.parameters() if "ax" in state.get(p, {})}
        current = {p: p.detach().clone() for p in averages}
        try:
            for parameter, average in averages.items():
                parameter.data.copy_(average)
            yield
        finally:
            for parameter, value in current.items():
                parameter.data.copy_(value)

    def state(self) -> dict[str, Any]:
        """The loop's state, the validation history, the trigger of averaging and the best weights."""
        own = {"history": self.history, "averaging_since": self.averaging_since, "best": self.best}
        inherited = {"inherited": dict(self.inherited)}
        curriculum = {} if self.curriculum is None else {"curriculum": self.curriculum.state_dict()}
        return super().state() | own | inherited | curriculum

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`; the optimiser of the right kind is made before its state is loaded."""
        self.averaging_since = state["averaging_since"]
        self.optimizer = self.make_optimizer()
        super().load_state(state)
        self.history, self.inherited = list(state["history"]), state.get("inherited", {})
        if self.curriculum is not None:
            self.curriculum.load_state_dict(state["curriculum"])
        self.best = {name: value.to(self.context.device) for name, value in state["best"].items()}
