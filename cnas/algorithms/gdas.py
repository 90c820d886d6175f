"""GDAS: every step runs one hard sample of the relaxed architecture, through which α gets its gradient.

Dong and Yang 2019: the choices are drawn with Gumbel noise, the forward runs what was drawn and nothing else, and the
backward takes the softmax at temperature τ for the sample. τ falls from epoch to epoch, so that gradients come to
concentrate on what is drawn. The defaults are those of the NATS-Bench code; ``docs/algorithms/gdas.md`` tells more.

Legend: E edges, O operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cnas.algorithms._relaxation import AlphaConfig, Relaxed, hard_sample
from cnas.algorithms.base import SearchContext, StepContext
from cnas.spaces.base import SearchSpace
from cnas.types import Paper, Routing


class GDAS(Relaxed):
    """Gradient-based search with a differentiable sampler.

    Args:
        space: the space to search; only its decisions and mixtures are looked at.
        config: the hyper-parameters.
        seed: what the first α is drawn from.
    """

    name = "gdas"
    paper = Paper(
        title="Searching for a Robust Neural Architecture in Four GPU Hours",
        authors="Xuanyi Dong, Yi Yang",
        year=2019,
        url="https://arxiv.org/abs/1910.04465",
    )
    config: Config
    temperature: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config(AlphaConfig):
        """Hyper-parameters."""

        first_temperature: float = 10.0
        """τ of the first epoch (NATS-Bench: 10)."""
        last_temperature: float = 0.1
        """τ of the last epoch, reached in equal steps (NATS-Bench: 0.1)."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self._require_positive("first_temperature", "last_temperature")

        def at(self, epoch: int, epochs: int) -> float:
            """τ in an epoch, both counted from 0; the first one's where there is but one.

            Args:
                epoch: the epoch.
                epochs: how many there are.

            Example:
                >>> config = GDAS.Config()
                >>> [round(config.at(epoch, 100), 4) for epoch in (0, 1, 98, 99)]
                [10.0, 9.9, 0.2, 0.1]
            """
            way = min(epoch, epochs - 1) / max(epochs - 1, 1)
            return self.first_temperature + (self.last_temperature - self.first_temperature) * way

    def __init__(self, space: SearchSpace, config: Config, seed: int) -> None:
        super().__init__(space, config, seed)
        first = torch.tensor(config.first_temperature, dtype=torch.float64, device=self.alphas.logits.device)
        self.register_buffer("temperature", first)

    @torch.no_grad()
    def route(self, generator: torch.Generator) -> Routing:
        """One hard sample, without a graph: a weight step needs no gradient of α."""
        return hard_sample(self.alphas, float(self.temperature), generator)

    def gradient(self, context: StepContext) -> Tensor:
        """The straight-through gradient [E, O] of the validation loss of a hard sample of its own."""
        routing = hard_sample(self.alphas, float(self.temperature), context.generator("gumbel"))
        return context.valid(routing, [self.alphas.logits])[0]

    def end_epoch(self, context: SearchContext) -> dict[str, Any]:
        """Set the next epoch's τ.

        Returns:
            What α looks like, as in DARTS, and the τ of this epoch.
        """
        used = float(self.temperature)
        self.temperature.fill_(self.config.at(context.epoch + 1, context.epochs))
        return super().end_epoch(context) | {"temperature": used}


NAMES = {"gdas": GDAS.Config()}
