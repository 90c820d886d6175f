"""RSPS: random search with parameter sharing, the baseline that learns weights and no policy.

Li and Talwalkar 2019, section 3.3: every weight step runs an architecture drawn uniformly; in the end the best of some
random ones is taken by its validation loss with the shared weights. Where a network has many cells, each draws its own
in a weight step, as in the code of NATS-Bench; candidates and what is compared have one structure for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cnas.algorithms._candidates import best_of, distinct, distinct_candidates
from cnas.algorithms.base import SearchAlgorithm, SearchContext
from cnas.algorithms.limits import LimitedConfig
from cnas.types import Architecture, Paper, Routing


class RSPS(SearchAlgorithm):
    """Random search with parameter sharing.

    Args:
        space: the space to search; only its decisions are looked at.
        config: the hyper-parameters.
    """

    name = "rsps"
    paper = Paper(
        title="Random Search and Reproducibility for Neural Architecture Search",
        authors="Liam Li, Ameet Talwalkar",
        year=2019,
        url="https://arxiv.org/abs/1902.07638",
    )

    @dataclass(frozen=True, kw_only=True)
    class Config(LimitedConfig):
        """Hyper-parameters."""

        samples: int = 100
        """Architectures among which the final one is found; each is scored on all validation batches."""

        def __post_init__(self) -> None:
            self._require_counts("samples")

    config: Config

    def route(self, generator: torch.Generator) -> Routing:
        """In every cell that can be routed apart a connected architecture of its own, uniformly at random."""
        drawn = [self.space.sample(generator).choices for _ in range(self.space.routed_cells)]
        return Routing.paths(drawn, self.space.shape)

    def candidates(self, count: int, generator: torch.Generator) -> list[Architecture]:
        """``count`` distinct connected architectures, uniformly at random.

        Raises:
            UserError: where there are not as many in the space.
        """
        return distinct_candidates(self.space, count, generator)

    def derive(self, context: SearchContext) -> tuple[Architecture, dict[str, float]]:
        """The best of ``samples`` distinct random architectures, or of all where there are fewer.

        Raises:
            NonFiniteError: where no loss is finite.
        """
        count = min(self.config.samples, self.space.size)
        return best_of(context, distinct(self.space, count, context.generator("derive")))


NAMES = {"rsps": RSPS.Config()}
