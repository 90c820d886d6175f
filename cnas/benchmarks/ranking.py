"""How well one ranking of architectures agrees with another: Kendall's τ.

Legend: A architectures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnas.benchmarks.picks import Numbers, pick_chances
from cnas.benchmarks.tabular import TabularBenchmark
from cnas.errors import UserError

TOP = 0.1
"""The share of the architectures that count as the best."""
PICKS = 100
"""Of so many random architectures the best by its score is picked; of fewer where fewer than `SHARE` times as many are
ranked."""
SHARE = 6


@dataclass(frozen=True)
class Ranking:
    """How a supernet's opinion of some architectures compares with the truth.

    Args:
        kendall_tau: from −1 (reversed) over 0 (no relation) to 1 (same order); None where either does not distinguish
            them at all.
        tau_error: its standard error, as far as it comes of which architectures were compared.
        within_size: τ among pairs of equal size, or count, see `TabularBenchmark.size_classes`; None without these.
        top_precision: the share of the best `TOP` that is among the best `TOP` by score.
        picks: so many are drawn at random, of which the best by its score is picked.
        expected_pick: the mean value of that pick, exact: percent, or a perplexity.
        expected_percentile: its mean percentile in the whole table, from 0 to 1.
        architectures: how many were compared.
        dataset: whose values were the truth.
    """

    kendall_tau: float | None
    tau_error: float | None
    within_size: float | None
    top_precision: float
    picks: int
    expected_pick: float
    expected_percentile: float
    architectures: int
    dataset: str


def kendall_tau(scores: ArrayLike, accuracies: ArrayLike) -> float | None:
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
    return tau_within(scores, accuracies, None)


def tau_within(scores: ArrayLike, values: ArrayLike, classes: ArrayLike | None) -> float | None:
    """`kendall_tau` of the pairs of architectures in the same class, all classes taken at once.

    Args:
        scores: [A], the higher the better.
        values: [A], the higher the better.
        classes: [A], equal numbers are one class; None is one class of all.

    Returns:
        τ-b in [−1, 1], or None where no pair is told apart by both.

    Raises:
        UserError: as `kendall_tau`.

    Example:
        >>> tau_within([1.0, 2.0, 9.0, 8.0], [1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1])
        0.0
    """
    return _tau(*_comparisons(scores, values, classes).sum(axis=0))


def tau_error(scores: ArrayLike, values: ArrayLike) -> float | None:
    """The standard error of `kendall_tau` that comes of which architectures were compared, by the jackknife.

    Args:
        scores: [A], the higher the better.
        values: [A], the higher the better.

    Returns:
        The error, in units of τ; None where leaving out one architecture leaves no τ.

    Raises:
        UserError: as `kendall_tau`.

    Example:
        >>> round(tau_error([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 4.0, 3.0]), 3)
        0.577
    """
    compared_A3 = _comparisons(scores, values, None)
    # Without an architecture, what it was compared with falls away on both sides.
    without = [_tau(*counts) for counts in compared_A3.sum(axis=0) - 2 * compared_A3]
    known_A = np.array([tau for tau in without if tau is not None])
    count = len(compared_A3)
    return float(math.sqrt((count - 1) * known_A.var())) if len(known_A) == count else None


def _comparisons(scores: ArrayLike, values: ArrayLike, classes: ArrayLike | None) -> NDArray[np.int64]:
    """Of an architecture and those of its class: as ordered minus reversed, untied in scores, untied in values [A, 3].

    Of two architectures, each is compared with the other, so that the sums are twice those of pairs.
    """
    x_A, y_A = _ranked(scores, "scores"), _ranked(values, "accuracies")
    if len(x_A) != len(y_A):
        raise UserError(f"scores and accuracies must be equally many, got {len(x_A)} and {len(y_A)}")
    class_A = np.zeros(len(x_A)) if classes is None else np.asarray(classes)
    found = []
    for x, y, own in zip(x_A, y_A, class_A, strict=True):
        alike = class_A == own
        x_signs, y_signs = np.sign(x_A[alike] - x), np.sign(y_A[alike] - y)
        found.append((x_signs @ y_signs, abs(x_signs).sum(), abs(y_signs).sum()))
    return np.array(found)


def _tau(order: int, untied_x: int, untied_y: int) -> float | None:
    if not untied_x or not untied_y:
        return None
    # One square root of the product rounds once, so that a perfect order gives exactly 1.
    return max(-1.0, min(1.0, int(order) / math.sqrt(int(untied_x) * int(untied_y))))


def supernet_ranking(losses: Mapping[str, float], benchmark: TabularBenchmark, dataset: str = "cifar10") -> Ranking:
    """How the losses of subnets with shared weights rank architectures, against what they are worth once trained.

    Args:
        losses: the validation loss of each architecture in the supernet, by its string; the lower the better, and what
            is not finite the worst.
        benchmark: knows the architectures.
        dataset: whose test accuracies or perplexities are meant.

    Raises:
        UserError: there are fewer than two architectures, the benchmark does not know one or has no such data set.
    """
    index_A, scores_A = benchmark.indices(list(losses)), loss_scores(losses.values())
    quality_A, classes = benchmark.quality(dataset)[index_A], benchmark.size_classes
    tau = kendall_tau(scores_A, quality_A)
    count = min(PICKS, max(1, len(scores_A) // SHARE))
    chances_A = pick_chances(scores_A, count)
    sign = 1 if benchmark.higher_is_better else -1
    return Ranking(
        tau,
        tau_error(scores_A, quality_A),
        None if classes is None else tau_within(scores_A, quality_A, classes[index_A]),
        _top_precision(scores_A, quality_A),
        count,
        sign * float(chances_A @ quality_A),
        float(chances_A @ benchmark.percentiles(dataset)[index_A]),
        len(scores_A),
        dataset,
    )


def loss_scores(losses: Iterable[float]) -> Numbers:
    """Scores of the same order as losses [A], the higher the better; what is not finite is alike, and the worst.

    Args:
        losses: of the architectures.
    """
    losses_A = np.array([loss if math.isfinite(loss) else math.inf for loss in losses])
    return -np.unique(losses_A, return_inverse=True)[1].astype(float)


def _top_precision(scores_A: Numbers, quality_A: Numbers) -> float:
    """The share of the best by quality that is among the best by score; equal scores in the order that they have."""
    count = max(1, round(TOP * len(scores_A)))
    best = [set(np.argsort(-values, kind="stable")[:count].tolist()) for values in (scores_A, quality_A)]
    return len(best[0] & best[1]) / count


def _ranked(values: ArrayLike, name: str) -> NDArray[np.int64]:
    """The place of each value among the different ones, int64 [A]."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise UserError(f"{name} must be at least two numbers, got {found.size}")
    if not np.isfinite(found).all():
        raise UserError(f"{name} must be finite, got {found[~np.isfinite(found)][0]}")
    return np.unique(found, return_inverse=True)[1]
