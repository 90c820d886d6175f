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
    """Kendall's rank correlation τ-b, which allows for ties, by comparing all pairs.

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
    x_A, y_A = _ranked(scores, "scores"), _ranked(accuracies, "accuracies")
    if len(x_A) != len(y_A):
        raise UserError(f"scores and accuracies must be equally many, got {len(x_A)} and {len(y_A)}")
    pairs = len(x_A) * (len(x_A) - 1) // 2
    untied_x, untied_y = (pairs - int((counts * (counts - 1) // 2).sum()) for counts in map(np.bincount, (x_A, y_A)))
    if not untied_x or not untied_y:
        return None
    # Of two architectures, each is compared with the other.
    order = sum(int(np.sign(x_A - x) @ np.sign(y_A - y)) for x, y in zip(x_A, y_A, strict=True)) // 2
    # One square root of the product rounds once, so that a perfect order gives exactly 1.
    return max(-1.0, min(1.0, order / math.sqrt(untied_x * untied_y)))


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


def _ranked(values: Sequence[float], name: str) -> NDArray[np.int64]:
    """The place of each value among the different ones, int64 [A]."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise UserError(f"{name} must be at least two numbers, got {found.size}")
    if not np.isfinite(found).all():
        raise UserError(f"{name} must be finite, got {found[~np.isfinite(found)][0]}")
    return np.unique(found, return_inverse=True)[1]
