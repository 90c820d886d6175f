"""Tabular benchmarks: accuracies of trained architectures, looked up instead of trained."""

from cnas.benchmarks.base import Benchmark, Record
from cnas.benchmarks.nats import NatsTable
from cnas.benchmarks.nats_files import NatsFiles, build_table
from cnas.benchmarks.ranking import Ranking, kendall_tau, supernet_ranking

__all__ = [
    "Benchmark",
    "NatsFiles",
    "NatsTable",
    "Ranking",
    "Record",
    "build_table",
    "kendall_tau",
    "supernet_ranking",
]
