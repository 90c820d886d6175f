"""Statistics of paired differences: interval, sign-flip test, power, and the correction for several tests.

Legend: n pairs, one for each seed; d_n their differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

EXACT = 20
"""Up to so many pairs the sign-flip test goes through all flips of signs; of more, it draws some."""
DRAWS = 100_000
"""So many flips are drawn where there are too many to go through, always the same ones."""
POWER = 0.8
"""What a number of pairs must reach to be enough."""
MOST_PAIRS = 10_000
"""Where more are needed, nobody will have them."""


@dataclass(frozen=True)
class Difference:
    """Paired differences in a few numbers.

    Args:
        n: how many pairs there are.
        mean: of the differences; None without pairs.
        sd: their sample standard deviation; None below two pairs.
        low: lower limit of the t-interval of the mean; None below two pairs.
        high: upper limit.
        confidence: of the interval.
        p: of the two-sided sign-flip test; None without pairs.
        exact: whether ``p`` counts all flips of signs, and is no estimate from some.
    """

    n: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    confidence: float
    p: float | None
    exact: bool


def paired_difference(differences: Sequence[float], confidence: float = 0.95) -> Difference:
    """Mean, spread, t-interval and sign-flip test of paired differences.

    Args:
        differences: one for each pair, all finite.
        confidence: of the interval.

    Example:
        >>> found = paired_difference([0.1, 0.2, 0.3])
        >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3), found.p
        (0.2, -0.048, 0.448, 0.25)
    """
    d_n = np.asarray(differences, dtype=np.float64)
    n = len(d_n)
    mean = float(d_n.mean()) if n else None
    sd = low = high = None
    if mean is not None and n > 1:
        sd = float(d_n.std(ddof=1))
        half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / math.sqrt(n)
        low, high = mean - half, mean + half
    return Difference(n, mean, sd, low, high, confidence, sign_flip_p(d_n) if n else None, n <= EXACT)


def sign_flip_p(differences: ArrayLike) -> float:
    """The two-sided p of the sign-flip test: how often a flip of signs makes the sum at least as large.

    Where neither side of a pair is favoured, every difference is as likely as its negative, whatever its distribution.
    All 2^n flips are counted up to `EXACT` pairs; above, `DRAWS` of them, and the observed one as well, which keeps the
    size of the test (Phipson & Smyth 2010, "Permutation P-values should never be zero").

    Args:
        differences: one for each pair, at least one.

    Example:
        >>> sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0])
        0.0625
    """
    d_n = np.abs(np.asarray(differences, dtype=np.float64))
    observed = abs(float(np.sum(differences)))
    # Sums that are equal on paper may differ in their last bits.
    least = observed - 1e-12 * float(d_n.sum())
    if len(d_n) <= EXACT:
        return float(np.mean(np.abs(_all_sums(d_n)) >= least))
    draw = np.random.default_rng(0)
    as_large = 0
    for start in range(0, DRAWS, 10_000):
        signs = draw.integers(0, 2, (min(10_000, DRAWS - start), len(d_n))) * 2 - 1
        as_large += int(np.sum(np.abs(signs @ d_n) >= least))
    return (1 + as_large) / (1 + DRAWS)


def _all_sums(d_n: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the differences for every flip but those that flip the first: their sums are the negatives."""
    sums = d_n[:1]
    for difference in d_n[1:]:
        sums = np.concatenate([sums + difference, sums - difference])
    return sums


def power(effect: float, sd: float, n: int, confidence: float = 0.95) -> float:
    """The chance that the two-sided paired t-test finds an effect of that size.

    Args:
        effect: the true mean of the differences.
        sd: their true standard deviation.
        n: pairs, at least two.
        confidence: one minus the size of the test.

    Example:
        >>> round(power(0.5, 1.0, 34), 3)
        0.808
    """
    if sd == 0:
        return 1.0 if effect else 1 - confidence
    limit, shift = float(stats.t.ppf((1 + confidence) / 2, n - 1)), abs(effect) / sd * math.sqrt(n)
    # Its other tail is wrong for large shifts, and then it is nothing.
    other = float(stats.nct.cdf(-limit, n - 1, shift)) if shift < 5 else 0.0
    return float(stats.nct.sf(limit, n - 1, shift)) + other


def pairs_needed(effect: float, sd: float, confidence: float = 0.95) -> int | None:
    """The fewest pairs with which the paired t-test finds an effect four times out of five (`POWER`).

    Args:
        effect: the true mean of the differences.
        sd: their true standard deviation.
        confidence: one minus the size of the test.

    Returns:
        At least 2; None where even `MOST_PAIRS` are too few.

    Example:
        >>> pairs_needed(0.5, 1.0)
        34
    """
    few, enough = 2, MOST_PAIRS
    if power(effect, sd, enough, confidence) < POWER:
        return None
    while few < enough:
        middle = (few + enough) // 2
        few, enough = (few, middle) if power(effect, sd, middle, confidence) >= POWER else (middle + 1, enough)
    return enough


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values made larger for being several, so that any false alarm among them stays as rare as one (Holm 1979).

    Args:
        p_values: of the tests.

    Returns:
        The adjusted ones, in the same order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted
