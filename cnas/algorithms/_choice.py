"""The last step of a search that compares architectures: the lowest loss on all validation batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from cnas.algorithms.base import SearchContext
from cnas.errors import NonFiniteError
from cnas.types import Architecture

GROUP = 10
"""Most architectures scored in one call, which bounds the memory that takes."""


def best_of(context: SearchContext, architectures: Sequence[Architecture]) -> tuple[Architecture, dict[str, float]]:
    """The architecture with the lowest validation loss, the first of equal ones, and figures about all of them.

    Args:
        context: gives validation losses, with inherited weights.
        architectures: connected, distinct, at least one.

    Returns:
        (the best one, its loss in nats and its perplexity, how many were scored, their median and worst loss).

    Raises:
        NonFiniteError: a loss is NaN, or none is finite.
    """
    losses: list[float] = []
    for start in range(0, len(architectures), GROUP):
        losses += context.validation_losses(architectures[start : start + GROUP], None).tolist()
    for architecture, loss in zip(architectures, losses, strict=True):
        if math.isnan(loss):
            raise NonFiniteError(f"the loss of architecture {architecture} on the validation set is {loss}")
    best = min(range(len(losses)), key=losses.__getitem__)
    if math.isinf(losses[best]):
        raise NonFiniteError(f"the validation losses of all {len(losses)} architectures to choose from are infinite")
    return architectures[best], {
        "valid_loss": losses[best],
        "valid_perplexity": math.exp(min(losses[best], 700.0)),
        "scored": float(len(losses)),
        "median_valid_loss": median(losses),
        "worst_valid_loss": max(losses),
    }
