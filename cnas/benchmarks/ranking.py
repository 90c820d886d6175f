"""How well one ranking of architectures agrees with another: Kendall's τ.

Legend: A architectures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnas.benchmarks.base import Benchmark, check_data_set
from cnas.errors import UserError

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """How a supernet's opinion of some architectures compares with the truth.

    Args:
        kendall_tau: from −1 (reversed) over 0 (no relation) to 1 (same order); None where either does not distinguish
            them at all.
        architectures: how many were compared.
        dataset: whose test accuracies were the truth.
    """

    kendall_tau: float | None
    architectures: int
    dataset: str


def kendall_tau(scores: Sequence[float], accuracies: Sequence[float]) -> float | None:
    """Kendall's rank correlation τ-b, which allows for ties, in O(n log² n).

    τ-b = (C − D) / √((P − P_scores)(P − P_accuracies)), with C pairs in the same order, D in the opposite one, P pairs
    in all, and so many of them tied in one (Kendall 1945, "The treatment of ties in ranking problems").

    Args:
        scores: one number for each architecture, the higher the better; of losses, give the negative.
        accuracies: of the same architectures, in the same order.

    Returns:
        τ-b in [−1, 1], or None where all scores, or all accuracies, are alike.

    Raises:
        UserError: they are fewer than two, not equally many, or one is not finite.

    Example:
        >>> kendall_tau([1.0, 2.0, 3.0], [10.0, 30.0, 20.0])
        0.3333333333333333
        >>> kendall_tau([1.0, 1.0], [10.0, 30.0]) is None
        True
    """
    x_A, y_A = _checked(scores, "scores"), _checked(accuracies, "accuracies")
    if len(x_A) != len(y_A):
        raise UserError(f"scores and accuracies must be equally many, got {len(x_A)} and {len(y_A)}")
    order = np.lexsort((y_A, x_A))
    x_A, y_A = x_A[order], y_A[order]
    pairs = len(x_A) * (len(x_A) - 1) // 2
    untied_x, untied_y = pairs - _ties(x_A), pairs - _ties(y_A)
    if not untied_x or not untied_y:
        return None
    # Sorted by x and among equals by y, a pair that is out of order in y is one in opposite order (Knight 1966).
    opposite = _inversions(y_A)[0]
    same = pairs - _ties(x_A) - _ties(y_A) + _ties(x_A, y_A) - opposite
    # One square root of the product rounds once, so that a perfect order gives exactly 1.
    return max(-1.0, min(1.0, (same - opposite) / math.sqrt(untied_x * untied_y)))


def supernet_ranking(losses: Mapping[str, float], benchmark: Benchmark, dataset: str = "cifar10") -> Ranking:
    """How the losses of subnets with shared weights rank architectures, against their accuracies once trained.

    Args:
        losses: the validation loss of each architecture in the supernet, by its string; the lower the better.
        benchmark: knows the architectures.
        dataset: whose test accuracies are meant.

    Raises:
        UserError: there are fewer than two architectures, a loss is not finite, the benchmark does not know an
            architecture or has no such data set.
    """
    records = [benchmark.query(text) for text in losses]
    for record in records[:1]:
        check_data_set(dataset, record.test_accuracy)
    accuracies = [record.test_accuracy[dataset] for record in records]
    return Ranking(kendall_tau([-loss for loss in losses.values()], accuracies), len(records), dataset)


def _checked(values: Sequence[float], name: str) -> Values:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise UserError(f"{name} must be at least two numbers, got {found.size}")
    if not np.isfinite(found).all():
        raise UserError(f"{name} must be finite, got {found[~np.isfinite(found)][0]}")
    return found


def _ties(*columns: Values) -> int:
    """How many pairs are equal in every column."""
    _, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
    return int((counts * (counts - 1) // 2).sum())


def _inversions(values: Values) -> tuple[int, Values]:
    """(how many pairs stand in descending order, the values sorted)."""
    if len(values) < 2:
        return 0, values
    middle = len(values) // 2
    left_count, left = _inversions(values[:middle])
    right_count, right = _inversions(values[middle:])
    across = int((len(left) - np.searchsorted(left, right, side="right")).sum())
    return left_count + right_count + across, np.sort(np.concatenate([left, right]), kind="stable")
