"""Distinct architectures, uniformly at random; also where nearly all of a space is wanted."""

from __future__ import annotations

import itertools
from collections.abc import Collection

import torch

from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

TRIES = 30
"""Draws for each architecture wanted, before all that are left are listed."""


def distinct(
    space: SearchSpace, count: int, generator: torch.Generator, seen: Collection[Architecture] = ()
) -> list[Architecture]:
    """Up to ``count`` distinct connected architectures; fewer only where the space has no more.

    Args:
        space: draws them.
        count: how many; none where it is below 1.
        generator: of the draws.
        seen: architectures that are not wanted.
    """
    if count < 1:
        return []
    found: dict[Architecture, None] = {}
    for _ in range(TRIES * count):
        one = space.sample(generator)
        if one not in seen:
            found[one] = None
        if len(found) == count:
            return list(found)
    # So many repetitions mean that nearly all are found: the others are few enough to be listed.
    every = map(space.architecture, itertools.product(*(decision.options for decision in space.decisions())))
    rest = [one for one in every if one not in found and one not in seen and space.is_connected(one)]
    order = torch.randperm(len(rest), generator=generator).tolist()
    return [*found, *(rest[place] for place in order)][:count]
