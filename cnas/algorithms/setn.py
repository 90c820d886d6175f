"""SETN: weights learn on uniform paths, α on the soft mixture; in the end α proposes and validation data decide.

Dong and Yang 2019: sampling every path equally often treats all alike, whatever α says; α, the template, then tells
which few of them are worth being evaluated. The defaults are those of the NATS-Bench code;
``docs/algorithms/setn.md`` tells what else was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cnas.algorithms._candidates import best_of
from cnas.algorithms._relaxation import AlphaConfig, Relaxed
from cnas.algorithms.base import SearchContext
from cnas.types import Architecture, Paper, Routing


class SETN(Relaxed):
    """Self-evaluated template network.

    Args:
        space: the space to search; only its decisions and mixtures are looked at.
        config: the hyper-parameters.
        seed: what the first α is drawn from.
    """

    name = "setn"
    paper = Paper(
        title="One-Shot Neural Architecture Search via Self-Evaluated Template Network",
        authors="Xuanyi Dong, Yi Yang",
        year=2019,
        url="https://arxiv.org/abs/1910.05733",
    )

    @dataclass(frozen=True, kw_only=True)
    class Config(AlphaConfig):
        """Hyper-parameters."""

        proposals: int = 100
        """Architectures with the largest products of weights, among which the final one is found (NATS-Bench: 100)."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self._require_counts("proposals")

    config: Config

    def route(self, generator: torch.Generator) -> Routing:
        """One connected architecture, uniformly at random, the same in every cell."""
        return self.space.routing(self.space.sample(generator))

    def derive(self, context: SearchContext) -> tuple[Architecture, dict[str, float]]:
        """The best on validation data of the connected architectures with the largest products of weights.

        Raises:
            NonFiniteError: where no loss is finite.
        """
        ranked, disconnected = self.alphas.best_available(self.config.proposals)
        architecture, figures = best_of(context, [found for found, _ in ranked])
        log_prob = dict(ranked)[architecture]
        return architecture, figures | {"log_probability": log_prob, "disconnected": float(disconnected)}


NAMES = {"setn": SETN.Config()}
