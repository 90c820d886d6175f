"""The Parquet files of tables: their columns in and out, and where a new one may be."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnas.data.tables import opened_parquet
from cnas.durable import replace_file
from cnas.errors import UserError

LARGEST = 1 << 20
"""Rows of a table; a small file may unfold into any number."""


def new_table(out: str | Path) -> Path:
    """The path of a table that is to be made.

    Raises:
        UserError: it exists already, or is in no folder.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f"table {out} exists already; name a new file")
    if not out.parent.is_dir():
        raise UserError(f"table {out} must be in a folder that exists")
    return out


def read_columns(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, list[Any]]:
    """The columns of a table, each as a list [A].

    Args:
        path: of a Parquet file.
        needed: columns that have to be there.
        optional: others that are read where they are there.

    Raises:
        UserError: there is no such file, it is not Parquet, or a column is missing.
    """
    if not path.is_file():
        raise UserError(f"table {path} is no file; name a Parquet table such as `cnas table build` writes")
    with opened_parquet(path) as file:
        names = file.schema_arrow.names
        lacking = [name for name in needed if name not in names]
        if lacking:
            raise UserError(f"table {path} lacks the column {lacking[0]}; it needs {', '.join(needed)}")
        if file.metadata.num_rows > LARGEST:
            raise UserError(f"table {path} has {file.metadata.num_rows:,} rows; at most {LARGEST:,} are read")
        wanted = [*needed, *(name for name in optional if name in names)]
        found: dict[str, list[Any]] = file.read(columns=wanted).to_pydict()
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

    stream = io.BytesIO()
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), stream)
    replace_file(path, stream.getvalue())
