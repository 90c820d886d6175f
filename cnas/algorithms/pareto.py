"""Pareto: trains as the sandwich does; the result is a front, the best trade-offs of validation loss and costs.

A front has every architecture of which no other is better in loss and in all costs that were asked for. A space of up
to 1,000 architectures is scored whole; in a larger one an evolution looks for the front (`cnas.algorithms.nsga2`). With
a limit on costs the best architecture within it is chosen, else somebody chooses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from cnas.algorithms._candidates import costs_of, every, figures, losses_of
from cnas.algorithms.base import SearchContext
from cnas.algorithms.limits import LimitedConfig, check_costs
from cnas.algorithms.nsga2 import Point, Score, evolve, fronts
from cnas.algorithms.sandwich import TrainsBothEnds
from cnas.errors import NonFiniteError
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture, FrontPoint, Paper

EXHAUSTIVE = 1000
"""So many architectures, or fewer, are all scored."""


class Pareto(TrainsBothEnds):
    """The whole front of validation loss against costs.

    Args:
        space: of sizes.
        config: the hyper-parameters.
        seed: not used.

    Raises:
        UserError: the architectures of the space have no sizes, or no such cost.
    """

    name = "pareto"
    paper = Paper(
        title="A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II",
        authors="Kalyanmoy Deb, Amrit Pratap, Sameer Agarwal, T. Meyarivan",
        year=2002,
        url="https://doi.org/10.1109/4235.996017",
    )

    @dataclass(frozen=True, kw_only=True)
    class Config(LimitedConfig):
        """Hyper-parameters."""

        costs: tuple[str, ...] = ("parameters",)
        """What the loss is traded off against; costs that `limit` names count as well."""
        population: int = 50
        """Architectures of a generation, where the space has more than 1,000."""
        generations: int = 20
        """How many generations are scored, each on all validation batches."""
        pick: str | None = field(default=None, metadata={"saved": False})
        """The architecture to go on with, instead of the best within `limit`; also after the search, with --resume."""

        def __post_init__(self) -> None:
            self._require_counts("population", "generations")

        @property
        def cost_names(self) -> tuple[str, ...]:
            """See `AlgorithmConfig.cost_names`."""
            return tuple(dict.fromkeys([*self.costs, *self.limits]))

    config: Config

    def __init__(self, space: SearchSpace, config: Config, seed: int = 0) -> None:
        super().__init__(space, config, seed)
        check_costs(space, config.costs, "costs")
        if config.pick is not None:
            space.parse(config.pick)

    def derive(self, context: SearchContext) -> tuple[Architecture | None, dict[str, float]]:
        """Find the front, and on it the smallest loss within the limit; ``pick`` comes first, without both it is None.

        Raises:
            NonFiniteError: where no loss is finite.
        """
        names = self.config.cost_names

        def score(found: Sequence[Architecture]) -> list[Point]:
            losses, costs = losses_of(context, found, None), [self.space.costs(one) for one in found]
            return [(loss, *(each[name] for name in names)) for loss, each in zip(losses, costs, strict=True)]

        scored = self._scored(context, score)
        finite = {one: point for one, point in scored.items() if math.isfinite(point[0])}
        if not finite:
            raise NonFiniteError(f"the validation losses of all {len(scored)} architectures are not finite")
        found, points = [*finite], [*finite.values()]
        best = sorted(fronts(points)[0], key=points.__getitem__)
        self.front = tuple(
            FrontPoint(str(found[place]), points[place][0], dict(zip(names, points[place][1:], strict=True)))
            for place in best
        )
        counts = {"scored": float(len(scored)), "front": float(len(best))}
        chosen = found[best[0]] if self.config.limit is not None else None
        if self.config.pick is not None:
            chosen = self.space.parse(self.config.pick)
        return chosen, counts | ({} if chosen is None else figures(context, chosen, *costs_of(context, [chosen], None)))

    def _scored(self, context: SearchContext, score: Score) -> dict[Architecture, Point]:
        """The points of all architectures, or of those that an evolution has met."""
        if self.space.size <= EXHAUSTIVE:
            found = [*every(self.space)]
            return dict(zip(found, score(found), strict=True))
        sizes = {"population": self.config.population, "generations": self.config.generations}
        return evolve(self.space, score, lambda index: context.generator("generation", index), **sizes)


NAMES = {"pareto": Pareto.Config()}
