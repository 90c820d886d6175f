"""Means, spreads and paired differences of few numbers, with how many they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Some numbers in short.

    Args:
        mean: of them.
        std: their sample standard deviation (n − 1 in the denominator); None of a single number.
        n: how many they are.
    """

    mean: float
    std: float | None
    n: int

    @property
    def standard_error(self) -> float | None:
        """How well the mean is known: std / √n; None of a single number."""
        return None if self.std is None else self.std / math.sqrt(self.n)


def summarize(values: Sequence[float]) -> Summary:
    """Mean and sample standard deviation.

    Raises:
        ValueError: there are no numbers.

    Example:
        >>> summarize([1.0, 3.0])
        Summary(mean=2.0, std=1.4142135623730951, n=2)
        >>> summarize([5.0]).std is None
        True
    """
    if not values:
        raise ValueError("values must hold at least one number")
    return Summary(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def paired(left: Mapping[int, float], right: Mapping[int, float]) -> tuple[tuple[int, ...], Summary | None]:
    """The differences ``right - left`` over the keys both have.

    Args:
        left: by seed.
        right: by seed.

    Returns:
        (the common seeds in ascending order, the differences in short or None where no seed is common).

    Example:
        >>> paired({1: 10.0, 2: 12.0, 3: 9.0}, {1: 9.0, 2: 11.0, 4: 0.0})
        ((1, 2), Summary(mean=-1.0, std=0.0, n=2))
    """
    seeds = tuple(sorted(left.keys() & right.keys()))
    return seeds, summarize([right[seed] - left[seed] for seed in seeds]) if seeds else None
