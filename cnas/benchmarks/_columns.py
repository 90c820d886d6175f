"""The columns of a compact table of NATS-Bench, and their way to and from Parquet.

Legend: A architectures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnas.errors import StorageError, UserError

TEST_COLUMNS = {
    "cifar10": "cifar10_test_200",
    "cifar100": "cifar100_test_200",
    "imagenet16_120": "imagenet16_120_test_200",
}
"""By data set, the column of test accuracies after 200 epochs, means over the benchmark's seeds, in percent."""

SHORT_COLUMNS = tuple(f"{name}_{split}_12" for name in TEST_COLUMNS for split in ("test", "valid"))
"""Accuracies after 12 epochs; a table may lack them."""

LARGEST = 1 << 20
"""Rows of a table; a small file may unfold into any number."""

NEEDED = ("index", "arch", *TEST_COLUMNS.values())


def read_columns(path: Path) -> dict[str, list[Any]]:
    """The columns that have to be there, each as a list [A].

    Raises:
        UserError: there is no such file, it is not Parquet, or a column is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError(f"table {path} is no file; name a Parquet table such as `cnas table build` writes")
    try:
        # From open files: given a name, pyarrow may take it for an address.
        with path.open("rb") as stream, pq.ParquetFile(stream) as file:
            known = file.schema_arrow.names
            missing = [name for name in NEEDED if name not in known]
            if missing:
                raise UserError(f"table {path} lacks the column {missing[0]}; it needs {', '.join(NEEDED)}")
            if file.metadata.num_rows > LARGEST:
                raise UserError(f"table {path} has {file.metadata.num_rows:,} rows; at most {LARGEST:,} are read")
            found: dict[str, list[Any]] = file.read(columns=list(NEEDED)).to_pydict()
    except UserError:
        raise
    except (pa.ArrowException, OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or "it is broken, or of another kind"
        raise UserError(f"table {path} cannot be read as Parquet: {reason}") from problem
    return found


def write_columns(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    """Write a table whole or not at all.

    Args:
        columns: by name, lists of equal length.
        path: a file in a folder that exists.

    Raises:
        StorageError: the disk refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stage = path.with_name(f".{path.name}.partial")
    try:
        with stage.open("wb") as stream:
            pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), stream)
        stage.replace(path)
    except OSError as problem:
        stage.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {problem.strerror or problem}") from problem
