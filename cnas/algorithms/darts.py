"""DARTS: the architecture is relaxed to a mixture whose weights α descend the validation loss beside the weights.

Liu et al. 2019: ``min_α L_valid(w*(α), α)`` with w* approximated by the weights of now (first order) or by one step of
them (second order, "unrolled"). The defaults are those of the authors' code for recurrent cells;
``docs/algorithms/darts.md`` tells where published codes differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cnas.algorithms._relaxed import AlphaConfig, Relaxed
from cnas.algorithms._unrolled import Unrolled
from cnas.algorithms.base import StepContext
from cnas.spaces.base import SearchSpace
from cnas.types import Paper, Routing


class DARTS(Relaxed):
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
    class Config(AlphaConfig):
        """Hyper-parameters; `darts` is the authors' code for recurrent cells."""

        learning_rate: float = 3e-3
        """Of the Adam on α (`darts`: 3e-3; NATS-Bench: 3e-4)."""
        weight_decay: float = 1e-3
        """Of the Adam on α (`darts`: 1e-3)."""
        betas: tuple[float, float] = (0.9, 0.999)
        """Decays of that Adam's moments (`darts`: 0.9, 0.999; NATS-Bench: 0.5, 0.999)."""
        order: Literal["before", "after"] = "before"
        """Whether α is updated before the weights of the same step or after them (`darts`: before)."""
        unrolled: bool = False
        """Second order: differentiate through one step of the weights."""
        weighted_inner: bool = False
        """Let the curriculum's weights multiply the training loss inside the unrolled step (Eq. 3b)."""
        unclamped_ratio: bool = False
        """Let the clipping factor of the second-order term exceed 1 (`darts`: yes)."""
        radius: float = 0.01
        """Norm of the step in the weights with which the second-order term is measured (`darts`: 0.01)."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self._require("radius", 0 < self.radius < math.inf, "a finite number above 0")

        @property
        def name(self) -> str:
            """``darts_v2`` where the weights' step is unrolled, else ``darts_v1``."""
            return "darts_v2" if self.unrolled else "darts_v1"

        def build(self, space: SearchSpace, seed: int) -> DARTS:
            """The algorithm of this configuration on ``space``."""
            return DARTS(space, self, seed)

    def __init__(self, space: SearchSpace, config: Config, seed: int) -> None:
        super().__init__(space, config, seed)
        self.config = config
        self.name = config.name
        self.unrolled = Unrolled(radius=config.radius, weighted=config.weighted_inner, unclamped=config.unclamped_ratio)

    @torch.no_grad()
    def route(self, generator: torch.Generator) -> Routing:  # noqa: ARG002
        """The soft mixture, without a graph: a weight step needs no gradient of α."""
        return self.alphas.routing()

    def gradient(self, context: StepContext) -> Tensor:
        """The gradient [E, O] of the soft mixture's validation loss, of first or second order (Eq. 5 to 8)."""
        if self.config.unrolled:
            return self.unrolled.gradient(context, self.alphas)
        return context.valid(self.alphas.routing(), [self.alphas.logits])[0]


NAMES = {"darts_v1": DARTS.Config(), "darts_v2": DARTS.Config(unrolled=True)}
