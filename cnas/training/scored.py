"""Losses of many sizes with the shared weights: what a search scores in the end, the two ends, random ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from cnas.algorithms.base import Scores, SearchContext
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture, ScoredPoint

RANDOM = 20
"""Uniform draws from the whole space; what is drawn twice counts once."""


class KeptLosses:
    """Validation losses that keeps those over all batches.

    Args:
        losses: what computes them.

    Attributes:
        known: mean loss in nats of each architecture.
    """

    def __init__(self, losses: Scores) -> None:
        self.losses, self.known = losses, dict[Architecture, float]()

    def __call__(self, architectures: Sequence[Architecture], index: int | None) -> Tensor:
        """See `SearchContext.validation_losses`."""
        found_K = self.losses(architectures, index)
        if index is None:
            self.known |= zip(architectures, found_K.tolist(), strict=True)
        return found_K


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
