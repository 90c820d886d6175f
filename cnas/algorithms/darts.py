"""DARTS: the architecture is relaxed to a mixture whose weights α descend the validation loss beside the weights.

Liu et al. 2019: ``min_α L_valid(w*(α), α)`` with w* approximated by the weights of now (first order) or by one step of
them (second order, "unrolled"). The defaults are those of the authors' code for recurrent cells;
``docs/algorithms/darts.md`` tells where published codes differ.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import torch

from cnas.algorithms._alphas import Alphas
from cnas.algorithms._choice import best_of
from cnas.algorithms._unrolled import Unrolled
from cnas.algorithms.base import SearchAlgorithm, SearchContext, StepContext
from cnas.errors import NonFiniteError, UserError
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture, Paper, Routing


class DARTS(SearchAlgorithm):
    """Differentiable architecture search, first and second order.

    Args:
        space: the space to search; only its decisions and mixtures are looked at.
        config: the hyper-parameters.
        seed: what the first α is drawn from.
    """

    paper = Paper(
        title="DARTS: Differentiable Architecture Search",
        authors="Hanxiao Liu, Karen Simonyan, Yiming Yang",
        year=2019,
        url="https://arxiv.org/abs/1806.09055",
    )

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Hyper-parameters; `darts` is the authors' code for recurrent cells."""

        unrolled: bool = False
        """Second order: differentiate through one step of the weights."""
        weighted_inner: bool = False
        """Let the curriculum's weights multiply the training loss inside the unrolled step (Eq. 3b)."""
        unclamped_ratio: bool = False
        """Let the clipping factor of the second-order term exceed 1 (`darts`: yes)."""
        learning_rate: float = 3e-3
        """Of the Adam on α (`darts`: 3e-3)."""
        weight_decay: float = 1e-3
        """Of the Adam on α (`darts`: 1e-3)."""
        betas: tuple[float, float] = (0.9, 0.999)
        """Decays of that Adam's moments (`darts`: 0.9, 0.999)."""
        radius: float = 0.01
        """Norm of the step in the weights with which the second-order term is measured (`darts`: 0.01)."""
        order: Literal["before", "after"] = "before"
        """Whether α is updated before the weights of the same step or after them (`darts`: before)."""

        def __post_init__(self) -> None:
            for field in ("learning_rate", "radius"):
                self._require(field, 0 < getattr(self, field) < math.inf, "a finite number above 0")
            self._require("weight_decay", 0 <= self.weight_decay < math.inf, "0 or a finite number above it")
            two = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
            self._require("betas", two, "two numbers, each at least 0 and below 1")
            self._require("order", self.order in {"before", "after"}, "before, after")

        def _require(self, field: str, holds: bool, allowed: str) -> None:
            if not holds:
                raise UserError(f"search.{field} is {getattr(self, field)!r}; allowed: {allowed}")

        @property
        def name(self) -> str:
            """``darts_v2`` where the weights' step is unrolled, else ``darts_v1``."""
            return "darts_v2" if self.unrolled else "darts_v1"

        def build(self, space: SearchSpace, seed: int) -> DARTS:
            """The algorithm of this configuration on ``space``."""
            return DARTS(space, self, seed)

    def __init__(self, space: SearchSpace, config: Config, seed: int) -> None:
        super().__init__(space)
        self.config = config
        self.name = config.name
        self.arch_order = config.order
        self.alphas = Alphas(space, seed)
        self.unrolled = Unrolled(radius=config.radius, weighted=config.weighted_inner, unclamped=config.unclamped_ratio)
        self.optimizer = torch.optim.Adam(
            [self.alphas.logits], lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )

    @torch.no_grad()
    def route(self, generator: torch.Generator) -> Routing:  # noqa: ARG002
        """The soft mixture, without a graph: a weight step needs no gradient of α."""
        return self.alphas.routing()

    def arch_step(self, context: StepContext) -> None:
        """Move α once down the gradient of the validation loss.

        Raises:
            NonFiniteError: the gradient is NaN or infinite; α and its optimiser are what they were.
        """
        assert self.optimizer is not None
        logits = self.alphas.logits
        if self.config.unrolled:
            gradient = self.unrolled.gradient(context, self.alphas)
        else:
            (gradient,) = context.valid(self.alphas.routing(), [logits])
        norm = float(gradient.norm())
        if not math.isfinite(norm):
            raise NonFiniteError(f"the norm of the gradient of α is {norm}; α was not updated")
        logits.grad = gradient
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
            "alphas": [[round(weight, 4) for weight in row] for row in weights],
            "operation_counts": {name: chosen[name] for name in self.space.operations},
        }

    def derive(self, context: SearchContext) -> tuple[Architecture, dict[str, float]]:
        """The connected architecture with the largest product of weights, and how well it validates.

        Raises:
            NonFiniteError: its validation loss is NaN or infinite.
        """
        ((best, log_prob),), disconnected = self.alphas.best(1)
        _, figures = best_of(context, [best])
        kept = {name: figures[name] for name in ("valid_loss", "valid_perplexity")}
        return best, kept | {"log_probability": log_prob, "disconnected": float(disconnected)}


NAMES = {"darts_v1": DARTS.Config(), "darts_v2": DARTS.Config(unrolled=True)}
