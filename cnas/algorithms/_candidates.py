"""Choosing architectures: the k best, distinct random ones, the best by validation loss.

What is compared on validation data, with inherited weights, is a *cost*: the share of wrong predictions where images
are classified, as in the NATS-Bench code, and the mean loss in nats elsewhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from statistics import median
from typing import NoReturn

import torch
from torch import Tensor

from cnas.algorithms.base import GROUP, Scores, SearchContext
from cnas.errors import NonFiniteError, UserError
from cnas.metrics import perplexity
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

TRIES = 30
"""Random draws for each distinct architecture wanted, before all that are left are listed."""
LISTED = 100_000
"""A larger space is never listed."""
CHILD_TRIES = 10
"""Attempts for each child wanted, as in published codes; random architectures take the place of missing ones."""


def k_best(log_probs: Sequence[Tensor], k: int) -> list[tuple[tuple[int, ...], float]]:
    """The k most probable combinations of one option per decision.

    Sums are compared without rounding, so the order is that of the true sums, whatever the order of the decisions.

    Args:
        log_probs: one [options] tensor per decision, of any floating-point dtype, not necessarily normalised; ``-inf``
            marks an impossible option, whose combinations come last.
        k: how many; all combinations where there are fewer.

    Returns:
        (one option index per decision, sum of their log-probabilities in nats), best first; of equal sums the smaller
        indices first.

    Raises:
        UserError: k is below 1, or a decision is empty, not one-dimensional, or holds NaN or +inf.

    Example:
        >>> import torch
        >>> k_best([torch.tensor([-1.0, -0.5]), torch.tensor([-2.0, -2.0])], 3)
        [((1, 0), -2.5), ((1, 1), -2.5), ((0, 0), -3.0)]
    """
    if k < 1:
        raise UserError(f"k is {k}; allowed: 1 or more")
    rows = [_numbers(place, values) for place, values in enumerate(log_probs)]
    # Floats are whole multiples of a power of two: with the largest denominator all become integers.
    scale = max((value.as_integer_ratio()[1] for row in rows for value in row if value > -math.inf), default=1)
    best: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    for row in rows:
        options = sorted((_cost(value, scale), index) for index, value in enumerate(row) if value > -math.inf)
        # Option j after prefix i comes behind the (i + 1) (j + 1) - 1 pairs that are no worse in both.
        pairs = (
            (cost + more, (*indices, index))
            for rank, (cost, indices) in enumerate(best)
            for more, index in options[: k // (rank + 1)]
        )
        best = sorted(pairs)[:k]
    found = [(indices, _number(-cost, scale)) for cost, indices in best]
    return found + _impossible(rows, {indices for _, indices in best}, k - len(best))


def _numbers(place: int, values: Tensor) -> list[float]:
    """The checked numbers of one decision."""
    allowed = "allowed: a one-dimensional tensor of one or more numbers, none NaN or +inf"
    if not isinstance(values, Tensor):
        raise UserError(f"log_probs[{place}] is a {type(values).__name__}; {allowed}")
    if values.dim() != 1 or not len(values):
        raise UserError(f"log_probs[{place}] has shape {tuple(values.shape)}; {allowed}")
    found = [float(value) for value in values.tolist()]
    for index, value in enumerate(found):
        if not value < math.inf:
            raise UserError(f"log_probs[{place}][{index}] is {value}; {allowed}")
    return found


def _cost(value: float, scale: int) -> int:
    """``-value * scale``, exactly."""
    numerator, denominator = value.as_integer_ratio()
    return -numerator * (scale // denominator)


def _number(numerator: int, scale: int) -> float:
    """``numerator / scale``, rounded once; infinite beyond the largest float."""
    try:
        return numerator / scale
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


def _impossible(
    rows: Sequence[Sequence[float]], possible: set[tuple[int, ...]], count: int
) -> list[tuple[tuple[int, ...], float]]:
    """The first ``count`` combinations with an impossible option; ``possible`` are all others where count > 0."""
    every = itertools.product(*(range(len(row)) for row in rows))
    rest = (indices for indices in every if indices not in possible)
    return [(indices, -math.inf) for indices in itertools.islice(rest, count)]


def every(space: SearchSpace) -> Iterator[Architecture]:
    """All connected architectures, in the order of their options."""
    choices = itertools.product(*(decision.options for decision in space.decisions()))
    return filter(space.is_connected, map(space.architecture, choices))


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
    if space.size > LISTED:
        return list(found)  # Where limits leave little of a large space.
    # So many repetitions mean that nearly all are found: the others are few enough to be listed.
    rest = [one for one in every(space) if one not in found and one not in seen]
    order = torch.randperm(len(rest), generator=generator).tolist()
    return [*found, *(rest[place] for place in order)][:count]


def fresh(
    space: SearchSpace, draw: Callable[[], Architecture], count: int, seen: Collection[Architecture]
) -> list[Architecture]:
    """Up to ``count`` distinct connected children that are not in ``seen``; fewer where ``draw`` repeats itself.

    Args:
        space: of the architectures.
        draw: makes a child.
        count: how many.
        seen: architectures that are not wanted.
    """
    found: dict[Architecture, None] = {}
    for _ in range(CHILD_TRIES * count):
        child = draw()
        if child not in seen and space.is_connected(child):
            found[child] = None
        if len(found) == count:
            break
    return list(found)


def distinct_candidates(
    space: SearchSpace, count: int, generator: torch.Generator, leaders: Sequence[Architecture] = ()
) -> list[Architecture]:
    """The first ``count`` leaders, topped up with distinct random connected architectures.

    Args:
        space: draws them.
        count: how many.
        generator: of the draws.
        leaders: distinct ones that come first.

    Raises:
        UserError: where there are not as many in the space.
    """
    found = [*leaders[: max(count, 0)]]
    found += distinct(space, min(count, space.size) - len(found), generator, found)
    if not found or len(found) < count:
        refuse_count(count, len(found) or space.size, space)
    return found


def refuse_count(count: int, most: int, space: SearchSpace, kind: str = "connected architectures") -> NoReturn:
    """Refuse to propose so many candidates.

    Args:
        count: how many were asked for.
        most: how many there are.
        space: which has no more.
        kind: what is counted.

    Raises:
        UserError: always.
    """
    raise UserError(f"curriculum.k is {count}; allowed: 1 to {most}, the {kind} of {space.name}")


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
        return losses_of(context, architectures, index)
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
    (loss,) = losses_of(context, [architecture], None)
    return found | {"valid_loss": loss}


def best_of(
    context: SearchContext, architectures: Sequence[Architecture], costs: Sequence[float] | None = None
) -> tuple[Architecture, dict[str, float]]:
    """The architecture with the lowest cost and a finite loss, the first of equal ones, and figures about all of them.

    Args:
        context: of the search.
        architectures: connected, distinct, at least one.
        costs: of each of them, on all validation batches, where they are known.

    Returns:
        (the best one, its loss in nats and its perplexity, or its loss and accuracy, how many were scored, the median
        and the worst of what was compared).

    Raises:
        NonFiniteError: no loss is finite.
    """
    costs = costs_of(context, architectures, None) if costs is None else costs
    about = {"scored": float(len(costs))}
    about |= figure(context, median(costs), "median_") | figure(context, max(costs), "worst_")
    for best in sorted(range(len(costs)), key=costs.__getitem__):
        found = figures(context, architectures[best], costs[best])
        if math.isfinite(found["valid_loss"]):
            return architectures[best], found | about
    raise NonFiniteError(f"the validation losses of all {len(costs)} architectures to choose from are not finite")


def losses_of(context: SearchContext, architectures: Sequence[Architecture], index: int | None) -> list[float]:
    """The validation loss in nats of each architecture; one that is no number is infinite."""
    losses = _in_groups(context, context.validation_losses, architectures, index)
    return [math.inf if math.isnan(loss) else loss for loss in losses]


def _in_groups(
    context: SearchContext, score: Scores, architectures: Sequence[Architecture], index: int | None
) -> list[float]:
    found: list[float] = []
    for start in range(0, len(architectures), GROUP):
        context.checkpoint()
        found += score(architectures[start : start + GROUP], index).tolist()
    return found
