"""Training the derived network from scratch: SGD, then averaged SGD once validation stops improving.

NT-ASGD is Merity et al. (2018): averaging starts when the validation loss is worse than the best of all but the last
``nonmonotone`` epochs; from then on the averaged weights are evaluated and kept. No sample is reweighted here (paper,
§3.5).

Legend: b rows of this process, T tokens, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.errors import NonFiniteError, UserError
from cnas.training.context import RunContext
from cnas.training.loop import AccelerateLoop
from cnas.training.loop_config import LoopConfig
from cnas.types import Batch, Output


@dataclass(frozen=True, kw_only=True)
class RetrainConfig(LoopConfig):
    """Training of the derived network; defaults are those of google-research ``enas_lm`` (``fixed.py``)."""

    least_epochs: ClassVar[int] = 0

    epochs: int = 3000
    """Passes over the training data; 0 leaves the network untrained."""
    batch_size: int = 64
    learning_rate: float = 20.0
    weight_decay: float = 1.6e-6
    """L2 penalty on the weights; ``fixed.py`` adds 8e-7·Σw², whose gradient is twice that, and clips it along."""
    clip_norm: float | None = 0.25
    nonmonotone: int | None = 10
    """Averaging starts when validation is worse than the best before the last so many epochs; none never starts it."""
    average_from: int | None = None
    """Start averaging at this epoch (from 1) at the latest; none leaves it to the rule."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nonmonotone is not None and self.nonmonotone < 1:
            raise UserError(f"nonmonotone must be at least 1 or none, got {self.nonmonotone}")
        if self.average_from is not None and self.average_from < 2:
            raise UserError(f"average_from must be at least 2 or none, got {self.average_from}")


class Retrainer(AccelerateLoop):
    """Trains a stand-alone network and keeps the weights that were best on validation data.

    Args:
        network: a derived network (it has ``run``).
        train: training batches.
        config: sizes of the loop.
        context: accelerator, run folder, seed.
        validate: figures of the network as it stands; ``valid_loss`` is the mean validation loss.

    Raises:
        UserError: batches are cut into parts, and the network normalises over whole ones.
    """

    phase = "retrain"
    config: RetrainConfig
    averaging_since: int | None = None
    """The step at which averaging began."""

    def __init__(
        self,
        network: Any,
        train: OrderedBatches,
        config: RetrainConfig,
        context: RunContext,
        validate: Callable[[Any], Mapping[str, float]],
    ) -> None:
        self._whole_batches = bool(getattr(network, "batch_statistics", False))
        if self._whole_batches:
            config.check_whole_batches("retrain.")
        super().__init__(network, train, config, context)
        self.network, self.validate = network, validate
        self.history: list[float] = []
        self.best: dict[str, Tensor] = {}

    def train(self) -> Any:
        """Train to the last epoch, from wherever the loop stands; the network ends with its best weights."""
        self.run()
        self.network.load_state_dict(self.best)
        return self.network

    def batch_losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Every unit counts the same."""
        # Only networks that normalise over whole batches have a use for the sum over processes.
        wants = batch.all_reduce_sum is not None and self._whole_batches
        shared = {"all_reduce_sum": batch.all_reduce_sum} if wants else {}
        output = Output(
            *self.network.run(batch.inputs, batch.labels, batch.hidden_state, batch.dropout_seeds, **shared)
        )
        return output.losses, output.losses, output.penalty, output.hidden_state

    def finish_epoch(self) -> dict[str, Any]:
        """Validate, keep the best weights, and start averaging where it is time to.

        Raises:
            NonFiniteError: the validation loss is NaN or infinite.
        """
        with self.averaged_weights():
            # From the main process, so that no rounding of another one parts their ways.
            figures = self.validate(self.network)
            loss = self.processes.from_main(figures["valid_loss"])
            if not math.isfinite(loss):
                raise NonFiniteError(f"the validation loss became {loss}")
            if not self.history or loss < min(self.history):
                self.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        averaged = self.averaging_since is not None
        self.history.append(loss)
        if not averaged and self._time_to_average():
            self.averaging_since = self.progress.step
            self.optimizer = self.make_optimizer()
        return {**figures, "valid_loss": loss, "averaged": averaged}

    def _time_to_average(self) -> bool:
        latest = self.config.average_from
        past = [] if self.config.nonmonotone is None else self.history[: -self.config.nonmonotone - 1]
        return (latest is not None and len(self.history) + 1 >= latest) or (bool(past) and self.history[-1] > min(past))

    def make_optimizer(self) -> Any:
        """SGD until averaging starts, torch's ASGD from there on, whose mean begins with its second step."""
        if self.averaging_since is None:
            return super().make_optimizer()
        config = self.config
        asgd = torch.optim.ASGD(
            self.model.parameters(), lr=config.learning_rate, lambd=0.0, t0=0.0, weight_decay=config.weight_decay
        )
        return self.accelerator.prepare(asgd)

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
        return super().state() | own

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`; the optimiser of the right kind is made before its state is loaded."""
        self.averaging_since = state["averaging_since"]
        self.optimizer = self.make_optimizer()
        super().load_state(state)
        self.history = list(state["history"])
        self.best = {name: value.to(self.accelerator.device) for name, value in state["best"].items()}
