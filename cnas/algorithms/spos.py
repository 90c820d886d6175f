"""SPOS: weights learn on uniform single paths; an evolution on validation losses finds the architecture afterwards.

Guo et al. 2020. Its top-K for the curriculum are the best of all architectures compared so far: after every epoch some
random ones are compared with those that lead. The defaults of the evolution are those of the paper;
``docs/algorithms/spos.md`` tells what else was chosen. A gene is the option that one decision of the space takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cnas.algorithms._candidates import best_of, costs_of, distinct, distinct_candidates, figure, fresh
from cnas.algorithms.base import SearchAlgorithm, SearchContext
from cnas.algorithms.limits import LimitedConfig
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
    class Config(LimitedConfig):
        """Hyper-parameters."""

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
        """How many of the best are remembered during the search; the first K of them score the data."""
        challengers: int = 10
        """Random architectures that are compared with them on a validation batch after every epoch."""

        def __post_init__(self) -> None:
            self._require_counts("population", "generations", "parents", "leaders", "challengers")
            self._require("mutations", 0 <= self.mutations <= self.population, "0 to search.population")
            most = self.population - self.mutations
            self._require("crossovers", 0 <= self.crossovers <= most, f"0 to {most}, population without mutations")
            self._require("mutation_rate", 0 < self.mutation_rate <= 1, "above 0, at most 1")

    config: Config

    def __init__(self, space: SearchSpace, config: Config, seed: int = 0) -> None:
        super().__init__(space, config, seed)
        self.leaders: list[Architecture] = []

    def route(self, generator: torch.Generator) -> Routing:
        """One connected architecture, uniformly at random, the same in every cell."""
        return self.space.routing(self.space.sample(generator))

    def candidates(self, count: int, generator: torch.Generator) -> list[Architecture]:
        """The first ``count`` leaders, topped up with distinct random connected architectures.

        Raises:
            UserError: where there are not as many in the space.
        """
        return distinct_candidates(self.space, count, generator, self.leaders)

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
            best = sorted(costs, key=costs.__getitem__)[: self.config.parents]
            found = self.next_generation(best, set(costs), context.generator("generation", generation))
            if not found:
                break
            costs |= zip(found, costs_of(context, found, None), strict=True)
        return best_of(context, list(costs), list(costs.values()))

    def next_generation(
        self, parents: Sequence[Architecture], seen: set[Architecture], draws: torch.Generator
    ) -> list[Architecture]:
        """The next generation: mutants, crosses, and random ones that fill it up.

        Args:
            parents: the best so far; without any, all are random.
            seen: architectures that were there before.
            draws: the generator of all draws.

        Returns:
            Distinct connected architectures that are not in ``seen``; fewer than a population where the space has no
            more.
        """

        def parent() -> Architecture:
            return parents[int(torch.randint(len(parents), (), generator=draws))]

        def mutant() -> Architecture:
            return mutated(self.space, parent(), self.config.mutation_rate, draws)

        def cross() -> Architecture:
            return crossed(self.space, parent(), parent(), draws)

        children: list[Architecture] = []
        for draw, count in ((mutant, self.config.mutations), (cross, self.config.crossovers)):
            children += fresh(self.space, draw, count if parents else 0, {*seen, *children})
        rest = self.config.population - len(children)
        return children + distinct(self.space, rest, draws, {*seen, *children})

    def get_extra_state(self) -> Any:
        """The leaders, in the notation of the space."""
        return {"leaders": [leader.to_str() for leader in self.leaders]}

    def set_extra_state(self, state: Any) -> None:
        """Load what `get_extra_state` returned."""
        self.leaders = [self.space.parse(text) for text in state["leaders"]]


def mutated(space: SearchSpace, architecture: Architecture, rate: float, generator: torch.Generator) -> Architecture:
    """A copy of which every decision is drawn again with probability ``rate``, uniformly among all its options.

    Args:
        space: of the architecture.
        architecture: the parent.
        rate: between 0 and 1.
        generator: of the draws; it gives two for every gene, whatever the rate.
    """
    choices = []
    for decision, kept in zip(space.decisions(), architecture.choices, strict=True):
        changes = float(torch.rand((), generator=generator)) < rate
        options = decision.options
        drawn = options[int(torch.randint(len(options), (), generator=generator))]
        choices.append(drawn if changes else kept)
    return space.architecture(choices)


def crossed(space: SearchSpace, one: Architecture, other: Architecture, generator: torch.Generator) -> Architecture:
    """A child that has each gene from either parent with equal probability.

    Args:
        space: of the architectures.
        one: a parent.
        other: a parent.
        generator: of the draws, one for every gene.
    """
    sides = torch.randint(2, (len(one.choices),), generator=generator).tolist()
    pairs = zip(one.choices, other.choices, strict=True)
    return space.architecture([pair[side] for pair, side in zip(pairs, sides, strict=True)])


NAMES = {"spos": SPOS.Config()}
