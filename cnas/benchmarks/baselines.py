"""What a search has to beat, from the table alone: a random architecture, a few of them trained shortly, the largest.

Each is a distribution over the architectures of the table, of which the exact mean is taken; nothing is drawn.

Legend: A architectures, C connected ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cnas.benchmarks.picks import Numbers, pick_chances
from cnas.benchmarks.ranking import PICKS, SHARE
from cnas.benchmarks.tabular import TabularBenchmark

TRAINED = 8
"""So many trainings stand where no search is given; on CIFAR-10 they see as many images as 100 epochs of one do."""


@dataclass(frozen=True)
class Baseline:
    """What choosing in some way is worth, in the mean.

    Args:
        name: how one chooses.
        value: the mean: percent, or a perplexity.
        deviation: the standard deviation of what is chosen; 0 where it is always the same.
        regret: how much worse than the best of the table, in the mean.
        rank: the mean place among all, 1 being the best.
        percentile: the mean share of connected architectures that are worse, from 0 to 1.
    """

    name: str
    value: float
    deviation: float
    regret: float
    rank: float
    percentile: float


def baselines(benchmark: TabularBenchmark, dataset: str, data: int | None = None) -> list[Baseline]:
    """The random architecture, and the best of some by what costs little or nothing.

    Args:
        benchmark: the table.
        dataset: whose values are meant.
        data: images or tokens that a search sees: of so many random architectures as that would train, the best is
            taken. None are those of `TRAINED` trainings.

    Raises:
        UserError: the table has no such data set.
    """
    count = int(benchmark.connected.sum())
    few = min(PICKS, max(1, count // SHARE))
    ways = [("random architecture", np.zeros(count), 1)]
    if (short := benchmark.short_training(dataset)) is not None:
        trained = min(TRAINED if data is None else short.paid_by(data), count)
        ways.append((f"best of {trained} by {short.name}", short.scores[benchmark.connected], trained))
    for name, scores_A in benchmark.free_scores().items():
        scores_C = scores_A[benchmark.connected]
        ways += [(f"best of {few} by {name}", scores_C, few), (f"best of all by {name}", scores_C, count)]
    return [_baseline(benchmark, dataset, name, pick_chances(scores_C, m)) for name, scores_C, m in ways]


def _baseline(benchmark: TabularBenchmark, dataset: str, name: str, chances_C: Numbers) -> Baseline:
    quality_C = benchmark.quality(dataset)[benchmark.connected]
    mean = float(chances_C @ quality_C)
    return Baseline(
        name,
        mean if benchmark.higher_is_better else -mean,
        math.sqrt(float(chances_C @ (quality_C - mean) ** 2)),
        float(benchmark.quality(dataset).max()) - mean,
        float(chances_C @ benchmark.ranks(dataset)[benchmark.connected]),
        float(chances_C @ benchmark.percentiles(dataset)[benchmark.connected]),
    )
