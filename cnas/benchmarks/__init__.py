"""Tabular benchmarks: what trained architectures are worth, looked up instead of trained."""

from cnas.benchmarks.base import Record
from cnas.benchmarks.baselines import Baseline, baselines
from cnas.benchmarks.nats import NatsTable
from cnas.benchmarks.nats_files import NatsFiles, build_table
from cnas.benchmarks.opened import load_table
from cnas.benchmarks.picks import expected_pick, pick_chances
from cnas.benchmarks.ranking import Ranking, kendall_tau, supernet_ranking
from cnas.benchmarks.tabular import TabularBenchmark
from cnas.benchmarks.trained import TrainedTable

__all__ = [
    "Baseline",
    "NatsFiles",
    "NatsTable",
    "Ranking",
    "Record",
    "TabularBenchmark",
    "TrainedTable",
    "baselines",
    "build_table",
    "expected_pick",
    "kendall_tau",
    "load_table",
    "pick_chances",
    "supernet_ranking",
]
