"""The interface of search algorithms, and what the trainer gives them to work with.

An algorithm decides which routing the next weight step runs, learns from validation losses, and names the final
architecture. It knows the space only through `SearchSpace.decisions` and never sees data, devices or ranks.

Legend: K candidates, E edges, O operations.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from cnas.errors import UserError
from cnas.random import to_device
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture, FrontPoint, Paper, Routing

GROUP = 10
"""Most architectures scored in one call, which bounds the memory that takes."""


Scores = Callable[[Sequence[Architecture], int | None], Tensor]
"""(K architectures, index of a batch or None for all) -> one figure for each, float64 [K]."""


@dataclass(frozen=True)
class SearchContext:
    """What an algorithm gets between epochs and in the end: validation and draws; the same on every rank.

    Args:
        epoch: the epoch, from 0.
        epochs: how many there are.
        generator: ``generator(name, *counters)`` gives the draws of one purpose within this epoch.
        validation_losses: ``validation_losses(architectures, index)`` is the mean validation loss float64 [K], in host
            memory, of K architectures with inherited weights, without dropout or gradient, on validation batch
            ``index`` (counted on past the end from the beginning again) or, where it is None, on all of them in order.
        validation_accuracies: the same for the share of right predictions; None where nothing is classified.
        checkpoint: called between the groups of a long pass; raises `Stopped` where a signal asks for it.
    """

    epoch: int
    epochs: int
    generator: Callable[..., torch.Generator]
    validation_losses: Scores
    checkpoint: Callable[[], None]
    validation_accuracies: Scores | None = None


class Gradients(Protocol):
    """Gradients of the mean loss of one global batch, the same on every rank."""

    def __call__(
        self,
        routing: Routing,
        inputs: Sequence[Tensor],
        *,
        weights: Mapping[str, Tensor] | None = None,
        weighted: bool = False,
    ) -> list[Tensor]:
        """Gradients with respect to ``inputs``, each in the shape, dtype and memory of its input.

        Those in host memory are waited for, if the weights are elsewhere.

        Calls with the same data in one step see the same dropout masks, so that their results can be compared.

        Args:
            routing: what the supernet runs; ``inputs`` may be part of its weights' graph.
            inputs: leaves of the graph: α, or tensors of ``weights``.
            weights: supernet parameters by name to run with instead of its own, in a pass that moves no running
                averages; None takes its own as constants.
            weighted: multiply the losses by the curriculum's weights, where there is a curriculum.
        """


@dataclass(frozen=True)
class StepContext:
    """What an algorithm gets with one weight step: gradients, weights and draws; the same on every rank.

    Args:
        step: the step, from 0.
        generator: ``generator(name, *counters)`` gives the draws of one purpose within this step.
        train: gradients on the batch of this weight step.
        valid: gradients on this step's validation batch.
        weights: the supernet's parameters by name, as constants; `Gradients` takes such a mapping.
        learning_rate: of the weight step that belongs to this architecture step.
        weight_decay: of the weight step.
        clip_norm: of the weight step's gradient; infinite where it is not clipped.
        momentum: gives, by name of a weight, what its optimiser adds to the next gradient: its momentum buffer times
            its momentum factor; a weight that is not there has none.
        fetch: a gradient in host memory; it waits for the device, and refuses what is NaN or infinite.
    """

    step: int
    generator: Callable[..., torch.Generator]
    train: Gradients
    valid: Gradients
    weights: Mapping[str, Tensor]
    learning_rate: float
    weight_decay: float
    clip_norm: float
    momentum: Callable[[], Mapping[str, Tensor]] = dict
    fetch: Callable[[Tensor], Tensor] = torch.Tensor.detach

    def leaf(self, values: Tensor) -> Tensor:
        """``values`` where the weights are and in their dtype, a leaf that `Gradients` takes without waiting."""
        like = next(iter(self.weights.values()))
        return to_device(values.detach().to(like.dtype), like.device).requires_grad_()


class AlgorithmConfig:
    """Base of the hyper-parameters of an algorithm, which is a class ``Config`` within the algorithm's own.

    Its ``__post_init__`` asks for what the fields have to be.

    Attributes:
        algorithm: the class it is within.
        pick: the architecture that somebody chose on a front; None where nobody did, or there is no front.
    """

    algorithm: ClassVar[type[SearchAlgorithm]]
    pick: str | None = None

    @property
    def needs_sgd(self) -> bool:
        """Whether it takes steps of SGD for those of the weights, so that these must be such steps."""
        return False

    @property
    def cost_names(self) -> tuple[str, ...]:
        """The costs of an architecture that it asks for, see `SearchSpace.costs`."""
        return ()

    @property
    def name(self) -> str:
        """Under which `cnas.algorithms` offers the algorithm."""
        return self.algorithm.name

    def build(self, space: SearchSpace, seed: int) -> Any:
        """Make the algorithm of this configuration.

        Args:
            space: the space to search.
            seed: what is drawn at the start is drawn from.
        """
        return self.algorithm(space, self, seed)

    def _require(self, field: str, holds: bool, allowed: str) -> None:
        """Raise a `UserError` with the field's value and what is allowed, unless it holds."""
        if not holds:
            raise UserError(f"search.{field} is {getattr(self, field)!r}; allowed: {allowed}")

    def _require_counts(self, *fields: str) -> None:
        for name in fields:
            self._require(name, getattr(self, name) >= 1, "1 or more")

    def _require_positive(self, *fields: str) -> None:
        for name in fields:
            self._require(name, 0 < getattr(self, name) < math.inf, "a finite number above 0")

    def _require_non_negative(self, *fields: str) -> None:
        for name in fields:
            self._require(name, 0 <= getattr(self, name) < math.inf, "0 or a finite number above it")

    def _require_betas(self, betas: tuple[float, float]) -> None:
        """The two factors of Adam's running means."""
        holds = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
        self._require("betas", holds, "two numbers, each at least 0 and below 1")


class SearchAlgorithm(nn.Module, ABC):
    """Base of all algorithms; parameters, buffers and ``self.optimizer``, where there is one, are checkpointed.

    Attributes:
        name: under which `cnas.algorithms` offers it.
        paper: where it was published.
        config: its hyper-parameters, where it has any.
        arch_order: whether `arch_step` comes before or after the weight step of the same batch; None is never.
        needs_relaxation: whether it runs mixtures of operations, which not every space has.
        paths_per_step: how many routings `routes` gives.
        front: what `derive` found, where it looks for trade-offs of loss and costs; the smallest loss first.
    """

    name: str
    paper: ClassVar[Paper]
    arch_order: Literal["before", "after"] | None = None
    needs_relaxation: ClassVar[bool] = False
    paths_per_step: ClassVar[int] = 1
    front: tuple[FrontPoint, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if issubclass(config := vars(cls).get("Config", object), AlgorithmConfig):
            config.algorithm = cls

    def __init__(self, space: SearchSpace, config: Any = None, seed: int = 0) -> None:  # noqa: ARG002
        super().__init__()
        self.space, self.config = space, config
        self.optimizer: torch.optim.Optimizer | None = None

    @property
    def needs_sgd(self) -> bool:
        """See `AlgorithmConfig.needs_sgd`."""
        return isinstance(self.config, AlgorithmConfig) and self.config.needs_sgd

    @abstractmethod
    def route(self, generator: torch.Generator) -> Routing:
        """The routing of the next weight step."""

    def routes(self, generator: torch.Generator) -> Sequence[Routing]:
        """The routings of the next weight step, whose losses are averaged; `route` alone where it is one.

        Args:
            generator: of this step's draws.
        """
        return [self.route(generator)]

    @abstractmethod
    def candidates(self, count: int, generator: torch.Generator) -> list[Architecture]:
        """The ``count`` candidates that score the data (π_K of Eq. 13), connected, drawn from ``generator``."""

    def arch_step(self, context: StepContext) -> None:
        """Learn beside every weight step, from validation (and training) gradients; called where `arch_order` says."""

    def end_epoch(self, context: SearchContext) -> dict[str, Any]:  # noqa: ARG002
        """Learn from validation data after an epoch; returns what ``metrics.jsonl`` should record."""
        return {}

    @abstractmethod
    def derive(self, context: SearchContext) -> tuple[Architecture | None, dict[str, float]]:
        """The final architecture, and figures about how it was chosen; None where somebody must choose on `front`."""

    def get_extra_state(self) -> Any:
        """The optimiser's state, so that it lands in every checkpoint."""
        return self.optimizer.state_dict() if self.optimizer else {}

    def set_extra_state(self, state: Any) -> None:
        """Load what `get_extra_state` returned."""
        if self.optimizer:
            self.optimizer.load_state_dict(state)
