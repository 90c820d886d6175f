"""One generation of an evolution: children of the best architectures by mutation and by crossover (Guo et al. 2020).

A gene is the option that one decision of the space takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from cnas.algorithms._distinct import distinct
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

TRIES = 10
"""Attempts for each child wanted, as in published codes; random architectures take the place of missing ones."""


@dataclass(frozen=True)
class Population:
    """How a generation comes about.

    Args:
        size: architectures of a generation.
        mutations: children by mutation, at most.
        crossovers: children by crossover, at most; both together are at most ``size``.
        rate: with which a mutation draws a gene again.
    """

    size: int
    mutations: int
    crossovers: int
    rate: float

    def next_generation(
        self,
        space: SearchSpace,
        parents: Sequence[Architecture],
        seen: set[Architecture],
        generator: torch.Generator,
    ) -> list[Architecture]:
        """The next generation: mutants, crosses, and random ones that fill it up.

        Args:
            space: what it lives in.
            parents: at least one.
            seen: architectures that were there before.
            generator: of all draws.

        Returns:
            ``size`` distinct connected architectures that are not in ``seen``; fewer where the space has no more.
        """

        def parent() -> Architecture:
            return parents[int(torch.randint(len(parents), (), generator=generator))]

        def fresh(make: Callable[[], Architecture], count: int, taken: set[Architecture]) -> list[Architecture]:
            found: dict[Architecture, None] = {}
            for _ in range(TRIES * count):
                child = make()
                if child not in taken and space.is_connected(child):
                    found[child] = None
                if len(found) == count:
                    break
            return list(found)

        mutants = fresh(lambda: mutated(space, parent(), self.rate, generator), self.mutations, seen)
        crosses = fresh(lambda: crossed(space, parent(), parent(), generator), self.crossovers, {*seen, *mutants})
        children = [*mutants, *crosses]
        rest = self.size - len(children)
        return children + distinct(space, rest, generator, {*seen, *children})


def mutated(space: SearchSpace, architecture: Architecture, rate: float, generator: torch.Generator) -> Architecture:
    """A copy of which every gene is drawn again with probability ``rate``, uniformly among all its options.

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
