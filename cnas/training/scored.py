"""Losses of many sizes with the shared weights: what a search scores in the end, the two ends, random ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from cnas.algorithms.base import SearchContext
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture, ScoredPoint

RANDOM = 20
"""Uniform draws from the whole space; what is drawn twice counts once."""


def keep_losses(context: SearchContext) -> tuple[SearchContext, dict[Architecture, float]]:
    """A context of which every loss over all validation batches is kept, and where they are kept.

    Args:
        context: that computes them.
    """
    known: dict[Architecture, float] = {}

    def losses(architectures: Sequence[Architecture], index: int | None) -> Tensor:
        found_K = context.validation_losses(architectures, index)
        if index is None:
            known.update(zip(architectures, found_K.tolist(), strict=True))
        return found_K

    return replace(context, validation_losses=losses), known


def scored_points(
    known: Mapping[Architecture, float],
    space: SearchSpace,
    losses: Callable[[Sequence[Architecture]], list[float]],
    context: SearchContext,
) -> tuple[ScoredPoint, ...]:
    """Everything with a finite loss; nothing where no cost is known, since then there are no sizes.

    Args:
        known: losses that are there already.
        space: of which the ends and the random architectures are, without limits.
        losses: of further architectures.
        context: draws.
    """
    if not any(map(space.costs, known)):
        return ()
    generator = context.generator("scored")
    random = dict.fromkeys(space.sample(generator) for _ in range(RANDOM))
    more = [one for one in dict.fromkeys([*space.extremes(), *random]) if one not in known]
    found = {**known, **dict(zip(more, losses(more), strict=True))}
    return tuple(
        ScoredPoint(one.to_str(), loss, dict(space.costs(one)), one in random)
        for one, loss in found.items()
        if math.isfinite(loss)
    )
