"""What a search algorithm must offer, and what the trainer lends it.

An algorithm decides which routing the next weight step runs, learns from validation losses, and names the final
architecture. It knows the space only through `SearchSpace.decisions` and never sees data, devices or ranks.

Legend: K candidates, E edges, O operations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from cnas.spaces.base import SearchSpace
from cnas.types import Architecture, Paper, Routing

GROUP = 10
"""Most architectures scored in one call, which bounds the memory that takes."""


@dataclass(frozen=True)
class SearchContext:
    """What the trainer lends an algorithm; the same on every rank.

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
    validation_losses: Callable[[Sequence[Architecture], int | None], Tensor]
    checkpoint: Callable[[], None]
    validation_accuracies: Callable[[Sequence[Architecture], int | None], Tensor] | None = None


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
    """What the trainer lends an algorithm beside one weight step; the same on every rank.

    Args:
        step: the step, from 0.
        generator: ``generator(name, *counters)`` gives the draws of one purpose within this step.
        train: gradients on the batch of this weight step.
        valid: gradients on this step's validation batch.
        weights: the supernet's parameters by name, as constants; `Gradients` takes such a mapping.
        learning_rate: of the weight step that belongs to this architecture step.
        weight_decay: of the weight step.
        clip_norm: of the weight step's gradient; infinite where it is not clipped.
        momentum: by name of a weight, what its optimiser adds to the next gradient: its momentum buffer times its
            momentum factor; a weight that is not there has none.
    """

    step: int
    generator: Callable[..., torch.Generator]
    train: Gradients
    valid: Gradients
    weights: Mapping[str, Tensor]
    learning_rate: float
    weight_decay: float
    clip_norm: float
    momentum: Mapping[str, Tensor] = field(default_factory=dict)


class SearchAlgorithm(nn.Module, ABC):
    """Base of all algorithms; parameters, buffers and ``self.optimizer``, where there is one, are checkpointed.

    Attributes:
        name: under which `cnas.algorithms` offers it.
        paper: where it was published.
        arch_order: whether `arch_step` comes before or after the weight step of the same batch; None is never.
    """

    name: str
    paper: ClassVar[Paper]
    arch_order: Literal["before", "after"] | None = None

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space
        self.optimizer: torch.optim.Optimizer | None = None

    @abstractmethod
    def route(self, generator: torch.Generator) -> Routing:
        """The routing of the next weight step."""

    @abstractmethod
    def candidates(self, count: int, generator: torch.Generator) -> list[Architecture]:
        """The ``count`` architectures that judge the data (π_K of Eq. 13), connected, drawn from ``generator``."""

    def arch_step(self, context: StepContext) -> None:
        """Learn beside every weight step, from validation (and training) gradients; called where `arch_order` says."""

    def end_epoch(self, context: SearchContext) -> dict[str, Any]:  # noqa: ARG002
        """Learn from validation data after an epoch; returns what ``metrics.jsonl`` should record."""
        return {}

    @abstractmethod
    def derive(self, context: SearchContext) -> tuple[Architecture, dict[str, float]]:
        """The final architecture, and figures about how it was chosen."""

    def get_extra_state(self) -> Any:
        """The optimiser's state, so that it lands in every checkpoint."""
        return self.optimizer.state_dict() if self.optimizer else {}

    def set_extra_state(self, state: Any) -> None:
        """Load what `get_extra_state` returned."""
        if self.optimizer:
            self.optimizer.load_state_dict(state)
