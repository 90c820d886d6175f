"""What the algorithms share that learn α by gradients of the validation loss, and rank architectures by it.

They differ in what a weight step runs, in the routing whose loss α descends, and in how they end.

Legend: E edges, O operations.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from cnas.algorithms._alphas import Alphas
from cnas.algorithms._checks import Checked
from cnas.algorithms._choice import costs_of, figures
from cnas.algorithms.base import SearchAlgorithm, SearchContext, StepContext
from cnas.errors import NonFiniteError
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture


@dataclass(frozen=True, kw_only=True)
class AlphaConfig(Checked):
    """How α descends; the defaults are those of the NATS-Bench code on images."""

    learning_rate: float = 3e-4
    """Of the Adam on α (NATS-Bench: 3e-4)."""
    weight_decay: float = 1e-3
    """Of the Adam on α (NATS-Bench: 1e-3)."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Decays of that Adam's moments (NATS-Bench: 0.5, 0.999)."""
    order: Literal["before", "after"] = "after"
    """Whether α is updated before the weights of the same step or after them (NATS-Bench: after)."""

    def __post_init__(self) -> None:
        self._require("learning_rate", 0 < self.learning_rate < math.inf, "a finite number above 0")
        self._require("weight_decay", 0 <= self.weight_decay < math.inf, "0 or a finite number above it")
        self._require_betas(self.betas)
        self._require("order", self.order in {"before", "after"}, "before, after")


class Relaxed(SearchAlgorithm):
    """An algorithm whose policy is α.

    Args:
        space: the space to search; only its decisions and mixtures are looked at.
        config: how α descends.
        seed: what the first α is drawn from.
    """

    def __init__(self, space: SearchSpace, config: AlphaConfig, seed: int) -> None:
        super().__init__(space)
        self.arch_order = config.order
        self.alphas = Alphas(space, seed)
        self.optimizer = torch.optim.Adam(
            [self.alphas.logits], lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )

    @abstractmethod
    def gradient(self, context: StepContext) -> Tensor:
        """The gradient [E, O] of α that this step follows."""

    def arch_step(self, context: StepContext) -> None:
        """Move α once down the gradient of the validation loss.

        Raises:
            NonFiniteError: the gradient is NaN or infinite; α and its optimiser are what they were.
        """
        assert self.optimizer is not None
        gradient = self.gradient(context)
        norm = float(gradient.norm())
        if not math.isfinite(norm):
            raise NonFiniteError(f"the norm of the gradient of α is {norm}; α was not updated")
        self.alphas.logits.grad = gradient
        self.optimizer.step()

    def candidates(self, count: int, generator: torch.Generator) -> list[Architecture]:  # noqa: ARG002
        """The ``count`` connected architectures with the largest products of weights.

        Raises:
            UserError: where there are not as many in the space.
        """
        return [found for found, _ in self.alphas.best(count)[0]]

    def end_epoch(self, context: SearchContext) -> dict[str, Any]:  # noqa: ARG002
        """α learns beside the weights; what it looks like now.

        Returns:
            The mean entropy of the mixtures in nats, their weights [E][O], and how often each operation is part of the
            best architecture: one operation everywhere is a search that has collapsed.
        """
        (best,) = self.candidates(1, torch.Generator())
        chosen = Counter(self.space.operations[operation] for _, operation in best.choices)
        weights = self.alphas.weights().tolist()
        return {
            "alpha_entropy": self.alphas.entropy(),
            "alphas": [[float(f"{weight:.6g}") for weight in row] for row in weights],
            "operation_counts": {name: chosen[name] for name in self.space.operations},
        }

    def derive(self, context: SearchContext) -> tuple[Architecture, dict[str, float]]:
        """The connected architecture with the largest product of weights, and how well it validates.

        α alone decides, whatever that is.
        """
        ((best, log_prob),), disconnected = self.alphas.best(1)
        (cost,) = costs_of(context, [best], None)
        return best, figures(context, best, cost) | {"log_probability": log_prob, "disconnected": float(disconnected)}
