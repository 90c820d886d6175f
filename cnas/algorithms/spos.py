"""SPOS: weights learn on uniform single paths; an evolution on validation losses finds the architecture afterwards.

Guo et al. 2020. Its top-K for the curriculum are the best of all architectures compared so far: after every epoch some
random ones are compared with those that lead. The defaults of the evolution are those of the paper;
``docs/algorithms/spos.md`` tells what else was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from cnas.algorithms._checks import Checked, refuse_count
from cnas.algorithms._choice import costs_of, figure, lowest
from cnas.algorithms._distinct import distinct
from cnas.algorithms._evolution import Population
from cnas.algorithms.base import SearchAlgorithm, SearchContext
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture, Paper, Routing


class SPOS(SearchAlgorithm):
    """Single path one-shot search.

    Args:
        space: the space to search; only its decisions are looked at.
        config: the hyper-parameters.

    Attributes:
        leaders: the best architectures compared so far, best first.
    """

    name = "spos"
    paper = Paper(
        title="Single Path One-Shot Neural Architecture Search with Uniform Sampling",
        authors="Zichao Guo, Xiangyu Zhang, Haoyuan Mu, Wen Heng, Zechun Liu, Yichen Wei, Jian Sun",
        year=2020,
        url="https://arxiv.org/abs/1904.00420",
    )

    @dataclass(frozen=True, kw_only=True)
    class Config(Checked):
        """Hyper-parameters."""

        name: ClassVar[str] = "spos"

        population: int = 50
        """Architectures of a generation (the paper: 50)."""
        generations: int = 20
        """How many generations are scored, each on all validation batches (the paper: 20)."""
        parents: int = 10
        """The best of all generations so far, of which children come (the paper: 10)."""
        mutations: int = 25
        """Children by mutation in a generation (the paper: 25)."""
        crossovers: int = 25
        """Children by crossover in a generation (the paper: 25)."""
        mutation_rate: float = 0.1
        """Probability with which a mutation draws a decision again (the paper: 0.1)."""
        leaders: int = 10
        """How many of the best are remembered during the search; the first K of them judge the data."""
        challengers: int = 10
        """Random architectures that are compared with them on a validation batch after every epoch."""

        def __post_init__(self) -> None:
            for field in ("population", "generations", "parents", "leaders", "challengers"):
                self._require(field, getattr(self, field) >= 1, "1 or more")
            self._require("mutations", 0 <= self.mutations <= self.population, "0 to search.population")
            most = self.population - self.mutations
            self._require("crossovers", 0 <= self.crossovers <= most, f"0 to {most}, population without mutations")
            self._require("mutation_rate", 0 < self.mutation_rate <= 1, "above 0, at most 1")

        def build(self, space: SearchSpace, seed: int) -> SPOS:  # noqa: ARG002
            """The algorithm of this configuration on ``space``; nothing in it is started from a seed."""
            return SPOS(space, self)

    def __init__(self, space: SearchSpace, config: Config) -> None:
        super().__init__(space)
        self.config = config
        self.leaders: list[Architecture] = []
        self.population = Population(config.population, config.mutations, config.crossovers, config.mutation_rate)

    def route(self, generator: torch.Generator) -> Routing:
        """One connected architecture, uniformly at random, the same in every cell."""
        return self.space.routing(self.space.sample(generator))

    def candidates(self, count: int, generator: torch.Generator) -> list[Architecture]:
        """The first ``count`` leaders, topped up with distinct random connected architectures.

        Raises:
            UserError: where there are not as many in the space.
        """
        leading = self.leaders[: max(count, 0)]
        missing = min(count, self.space.size) - len(leading)
        found = leading + distinct(self.space, missing, generator, leading)
        if not found or len(found) < count:
            most = len(found) or self.space.size
            refuse_count(count, most, self.space)
        return found

    def end_epoch(self, context: SearchContext) -> dict[str, Any]:
        """Compare the leaders and some challengers on one validation batch, the next one in every epoch.

        Returns:
            How many were compared, and the validation loss in nats, or the accuracy in percent, of the first leader
            and of the last one.
        """
        fresh = distinct(self.space, self.config.challengers, context.generator("challengers"), self.leaders)
        compared = [*self.leaders, *fresh]
        costs = dict(zip(compared, costs_of(context, compared, context.epoch), strict=True))
        self.leaders = sorted(costs, key=costs.__getitem__)[: self.config.leaders]
        first, last = costs[self.leaders[0]], costs[self.leaders[-1]]
        return (
            {"compared": len(costs)} | figure(context, first, "first_leader_") | figure(context, last, "last_leader_")
        )

    def derive(self, context: SearchContext) -> tuple[Architecture, dict[str, float]]:
        """The best that an evolution finds, scored on all validation batches; it ends early where all are scored.

        Raises:
            NonFiniteError: where no loss is finite.
        """
        costs: dict[Architecture, float] = {}
        for generation in range(self.config.generations):
            found = self._next_generation(costs, context.generator("generation", generation))
            if not found:
                break
            costs |= zip(found, costs_of(context, found, None), strict=True)
        return lowest(context, list(costs), list(costs.values()))

    def _next_generation(self, costs: dict[Architecture, float], draws: torch.Generator) -> list[Architecture]:
        """Random architectures first, then children of the best of all that were scored."""
        if not costs:
            return distinct(self.space, self.config.population, draws)
        parents = sorted(costs, key=costs.__getitem__)[: self.config.parents]
        return self.population.next_generation(self.space, parents, set(costs), draws)

    def get_extra_state(self) -> Any:
        """The leaders, in the notation of the space."""
        return {"leaders": [leader.to_str() for leader in self.leaders]}

    def set_extra_state(self, state: Any) -> None:
        """Load what `get_extra_state` returned."""
        self.leaders = [self.space.parse(text) for text in state["leaders"]]


NAMES = {"spos": SPOS.Config()}
