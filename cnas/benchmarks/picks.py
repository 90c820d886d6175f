"""What the best by a score is worth, exactly: the pick of the best of m random architectures, without drawing any.

Of A architectures, m are drawn without replacement and the one with the highest score is taken. The highest of them is
the r-th lowest of all with probability C(r − 1, m − 1) / C(A, m); equal scores share what falls to them.

Legend: A architectures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnas.errors import UserError

Numbers = NDArray[np.float64]


def pick_chances(scores: ArrayLike, count: int) -> Numbers:
    """How likely each architecture is to be picked as the best of ``count`` random ones.

    Args:
        scores: one number for each architecture [A], the higher the better.
        count: how many are drawn, m; one gives the random architecture, A the best of all.

    Returns:
        Probabilities float64 [A] that sum to one.

    Raises:
        UserError: there are no scores, one is not finite, or not so many architectures.

    Example:
        >>> pick_chances([1.0, 3.0, 2.0], 2).round(3).tolist()
        [0.0, 0.667, 0.333]
        >>> pick_chances([1.0, 1.0, 0.0], 3).tolist()
        [0.5, 0.5, 0.0]
    """
    scores_A = np.asarray(scores, dtype=np.float64)
    if scores_A.ndim != 1 or not np.isfinite(scores_A).all():
        raise UserError("scores must be finite numbers, one for each architecture")
    if not 1 <= count <= len(scores_A):
        raise UserError(f"count must be from 1 to {len(scores_A)}, the architectures there are, got {count}")
    place_A, sizes = np.unique(scores_A, return_inverse=True, return_counts=True)[1:]
    shares = np.diff(_below(np.concatenate([[0], np.cumsum(sizes)]), len(scores_A), count)) / sizes
    found: Numbers = shares[place_A]
    return found


def expected_pick(scores: ArrayLike, values: ArrayLike, count: int) -> float:
    """The mean value of what is picked as the best by score of ``count`` random architectures.

    Args:
        scores: of the architectures [A], the higher the better.
        values: what each is worth [A], in any unit.
        count: how many are drawn, m.

    Raises:
        UserError: as `pick_chances`.

    Example:
        >>> expected_pick([1.0, 3.0, 2.0], [90.0, 93.0, 91.5], 2)
        92.5
    """
    return float(pick_chances(scores, count) @ np.asarray(values, dtype=np.float64))


def _below(places: NDArray[np.int64], every: int, count: int) -> Numbers:
    """C(places, count) / C(every, count): how likely all that are drawn are among the lowest ``places``.

    As a product of ``count`` quotients, of which none overflows: (n − i) / (A − i).
    """
    found = np.ones(len(places))
    for drawn in range(count):
        found *= np.maximum(places - drawn, 0) / (every - drawn)
    return found
