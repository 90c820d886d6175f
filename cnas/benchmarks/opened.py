"""Open the table of a benchmark, whichever it is of."""

from __future__ import annotations

from pathlib import Path

from cnas.benchmarks.nats import NatsTable
from cnas.benchmarks.tabular import TabularBenchmark
from cnas.benchmarks.trained import TrainedTable
from cnas.data.tables import opened_parquet


def load_table(path: str | Path) -> TabularBenchmark:
    """Read a Parquet table: of NATS-Bench (``cnas table build``), or of cells we trained (``cnas table runs``).

    Args:
        path: of the file; its columns say which it is.

    Raises:
        UserError: there is no such file, it is not Parquet, or a row or column is wrong.
    """
    path = Path(path)
    if path.is_file():
        with opened_parquet(path) as file:
            if "training" in file.schema_arrow.names:
                return TrainedTable.load(path)
    return NatsTable.load(path)
