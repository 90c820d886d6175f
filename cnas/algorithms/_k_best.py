"""The k best combinations of independent decisions, exactly and without enumerating them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor

from cnas.errors import UserError


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
