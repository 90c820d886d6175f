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
    """The cost of each architecture, smaller is better; a loss that is no number is infinite: it ranks last.

    A stop is heard between groups.

    Args:
        context: gives validation losses and, where there is something to classify, accuracies.
        architectures: connected, distinct.
        index: of a validation batch; None takes all of them.

    Raises:
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


def figures(context: SearchContext, architecture: Architecture, cost: float) -> dict[str, float]:
    """What is known of one architecture on all validation batches: loss in nats and perplexity, or loss and accuracy.

    Args:
        context: of the search.
        architecture: connected.
        cost: its cost there.
    """
    found = figure(context, cost)
    if context.validation_accuracies is None:
        return found | {"valid_perplexity": perplexity(cost)}
    (loss,) = _losses_of(context, [architecture], None)
    return found | {"valid_loss": loss}


def best_of(context: SearchContext, architectures: Sequence[Architecture]) -> tuple[Architecture, dict[str, float]]:
    """The architecture with the lowest cost on all validation batches, and figures about all of them.

    Args:
        context: of the search.
        architectures: connected, distinct, at least one.

    Returns:
        As `lowest`.

    Raises:
        NonFiniteError: no loss is finite.
    """
    return lowest(context, architectures, costs_of(context, architectures, None))


def lowest(
    context: SearchContext, architectures: Sequence[Architecture], costs: Sequence[float]
) -> tuple[Architecture, dict[str, float]]:
    """The architecture with the lowest cost and a finite loss, the first of equal ones, and figures about all of them.

    Args:
        context: of the search.
        architectures: connected, distinct, at least one.
        costs: of each of them, on all validation batches.

    Returns:
        (the best one, its loss in nats and its perplexity, or its loss and accuracy, how many were scored, the median
        and the worst of what was compared).

    Raises:
        NonFiniteError: no loss is finite.
    """
    about = {"scored": float(len(costs))}
    about |= figure(context, median(costs), "median_") | figure(context, max(costs), "worst_")
    for best in sorted(range(len(costs)), key=costs.__getitem__):
        found = figures(context, architectures[best], costs[best])
        if math.isfinite(found["valid_loss"]):
            return architectures[best], found | about
    raise NonFiniteError(f"the validation losses of all {len(costs)} architectures to choose from are not finite")


def _losses_of(context: SearchContext, architectures: Sequence[Architecture], index: int | None) -> list[float]:
    losses = _in_groups(context, context.validation_losses, architectures, index)
    return [math.inf if math.isnan(loss) else loss for loss in losses]


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
