"""Sandwich: every step trains the smallest, the largest and two random architectures, so all sizes learn together.

Yu and Huang 2019, the sandwich rule: the losses of the four are averaged in one update, and whatever is between the
smallest and the largest improves with these. Without their distillation within a step: a smaller network learns from
the data, not from the largest one. In the end the best of some random architectures is taken, as in RSPS.
"""

from __future__ import annotations

import torch

from cnas.algorithms._candidates import distinct_candidates
from cnas.algorithms.base import SearchAlgorithm
from cnas.algorithms.limits import LimitedConfig
from cnas.algorithms.rsps import RSPS
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture, Paper, Routing

PATHS = 4
"""Architectures in a step: the two ends, and random ones (the paper: 4)."""


class TrainsBothEnds(SearchAlgorithm):
    """Base of algorithms in which every step trains the largest, the smallest and two random architectures.

    Args:
        space: of sizes; limits are for the random ones alone, so that every weight is trained.
        config: the hyper-parameters.
        seed: not used.

    Raises:
        UserError: the architectures of the space have no sizes.
    """

    paths_per_step = PATHS

    def __init__(self, space: SearchSpace, config: LimitedConfig, seed: int = 0) -> None:
        super().__init__(space, config, seed)
        space.extremes()  # Refuses a space without sizes.

    def route(self, generator: torch.Generator) -> Routing:
        """The largest architecture, the first of `routes`."""
        return self.routes(generator)[0]

    def routes(self, generator: torch.Generator) -> list[Routing]:
        """The largest, the smallest and two random architectures, in this order."""
        smallest, largest = self.space.extremes()
        drawn = [self.space.sample(generator) for _ in range(PATHS - 2)]
        return [self.space.routing(one) for one in (largest, smallest, *drawn)]

    def candidates(self, count: int, generator: torch.Generator) -> list[Architecture]:
        """The smallest and the largest architecture, as far as they are within the limits, and distinct random ones.

        Raises:
            UserError: where there are not as many in the space.
        """
        ends = [one for one in dict.fromkeys(self.space.extremes()) if self.space.is_connected(one)]
        return distinct_candidates(self.space, count, generator, ends)


class Sandwich(TrainsBothEnds, RSPS):
    """The sandwich rule: smallest, largest and random architectures in every step.

    Args:
        space: of sizes.
        config: the hyper-parameters.
        seed: not used.

    Raises:
        UserError: the architectures of the space have no sizes.
    """

    name = "sandwich"
    paper = Paper(
        title="Universally Slimmable Networks and Improved Training Techniques",
        authors="Jiahui Yu, Thomas Huang",
        year=2019,
        url="https://arxiv.org/abs/1903.05134",
    )

    class Config(RSPS.Config):
        """Hyper-parameters, those of RSPS."""


NAMES = {"sandwich": Sandwich.Config()}
