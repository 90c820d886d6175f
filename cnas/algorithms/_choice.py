"""Comparing architectures on validation data with inherited weights; the last step of a search takes the best.

What is compared is a *cost*: the share of wrong predictions where images are classified, as in the NATS-Bench code, and
the mean loss in nats elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from torch import Tensor

from cnas.algorithms.base import GROUP, SearchContext
from cnas.errors import NonFiniteError
from cnas.metrics import perplexity
from cnas.types import Architecture


def costs_of(context: SearchContext, architectures: Sequence[Architecture], index: int | None) -> list[float]:
    """The cost of each architecture, smaller is better; an infinite loss is passed on. A stop is heard between groups.

    Args:
        context: gives validation losses and, where there is something to classify, accuracies.
        architectures: connected, distinct.
        index: of a validation batch; None takes all of them.

    Raises:
        NonFiniteError: a loss is NaN.
        Stopped: a signal asked for it.
    """
    if context.validation_accuracies is None:
        return _losses_of(context, architectures, index)
    return [1.0 - share for share in _in_groups(context, context.validation_accuracies, architectures, index)]


def quality(context: SearchContext, cost: float) -> float:
    """What a cost is worth, from 0 to 1: the share of right predictions, or one over the perplexity."""
    return math.exp(-cost) if context.validation_accuracies is None else 1.0 - cost


def figure(context: SearchContext, cost: float, prefix: str = "") -> dict[str, float]:
    """A cost under the name it is known by: ``valid_loss`` in nats, or ``valid_accuracy`` in percent.

    Args:
        context: of the search.
        cost: as `costs_of` gives it.
        prefix: of the name.
    """
    if context.validation_accuracies is None:
        return {f"{prefix}valid_loss": cost}
    return {f"{prefix}valid_accuracy": 100.0 * (1.0 - cost)}


def best_of(context: SearchContext, architectures: Sequence[Architecture]) -> tuple[Architecture, dict[str, float]]:
    """The architecture with the lowest cost on all validation batches, and figures about all of them.

    Args:
        context: of the search.
        architectures: connected, distinct, at least one.

    Returns:
        As `lowest`.

    Raises:
        NonFiniteError: a loss is NaN, or none is finite.
    """
    return lowest(context, architectures, costs_of(context, architectures, None))


def lowest(
    context: SearchContext, architectures: Sequence[Architecture], costs: Sequence[float]
) -> tuple[Architecture, dict[str, float]]:
    """The architecture with the lowest cost, the first of equal ones, and figures about all of them.

    Args:
        context: of the search.
        architectures: connected, distinct, at least one.
        costs: of each of them, on all validation batches.

    Returns:
        (the best one, its loss in nats and its perplexity, or its loss and accuracy, how many were scored, the median
        and the worst of what was compared).

    Raises:
        NonFiniteError: no loss is finite, or that of the best one is NaN.
    """
    best = min(range(len(costs)), key=costs.__getitem__)
    if math.isinf(costs[best]):
        raise NonFiniteError(f"the validation losses of all {len(costs)} architectures to choose from are infinite")
    found = figure(context, costs[best])
    if context.validation_accuracies is None:
        found["valid_perplexity"] = perplexity(costs[best])
    else:
        (found["valid_loss"],) = _losses_of(context, [architectures[best]], None)
    about = {"scored": float(len(costs))}
    about |= figure(context, median(costs), "median_") | figure(context, max(costs), "worst_")
    return architectures[best], found | about


def _losses_of(context: SearchContext, architectures: Sequence[Architecture], index: int | None) -> list[float]:
    losses = _in_groups(context, context.validation_losses, architectures, index)
    where = "the validation set" if index is None else f"validation batch {index}"
    for architecture, loss in zip(architectures, losses, strict=True):
        if math.isnan(loss):
            raise NonFiniteError(f"the loss of architecture {architecture} on {where} is {loss}")
    return losses


def _in_groups(
    context: SearchContext,
    score: Callable[[Sequence[Architecture], int | None], Tensor],
    architectures: Sequence[Architecture],
    index: int | None,
) -> list[float]:
    found: list[float] = []
    for start in range(0, len(architectures), GROUP):
        context.checkpoint()
        found += score(architectures[start : start + GROUP], index).tolist()
    return found
