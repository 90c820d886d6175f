"""Splits of a local folder that are Parquet files, whatever is in their rows.

The files are read where they lie, as they are now: nothing is copied to a cache, and no name is taken for a pattern.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cnas.data._splits import SPLITS, the_one
from cnas.errors import UserError

BATCH = 1000
"""Rows that are unpacked at a time."""

Rows = TypeVar("Rows")


@dataclass(frozen=True)
class Table:
    """The rows of a split, whoever holds them.

    Args:
        columns: the names of all columns.
        classes: names of classes by column, where the table knows them.
        records: the rows in order, with these columns; images are still encoded.
    """

    columns: tuple[str, ...]
    classes: Mapping[str, tuple[str, ...]]
    records: Callable[[Sequence[str]], Iterator[dict[str, Any]]]


def has_parquet(folder: Path) -> bool:
    """Whether any split of ``folder`` is there as Parquet."""
    return any(parquet_files(folder, split) for split in SPLITS)


def parquet_files(folder: Path, split: str) -> list[Path]:
    """The files of a split, in order; none where it is not there."""
    patterns = (pattern for name in SPLITS[split] for pattern in parquet_names(name))
    found = {pattern: files for pattern in patterns if (files := sorted(folder.glob(pattern)))}
    chosen = the_one(list(found), split, f"data folder {folder}")
    return found[chosen] if chosen else []


def parquet_names(name: str) -> tuple[str, str]:
    """What the file of a split, or its files, are called."""
    return f"{name}.parquet", f"{name}-*.parquet"


def read_parquet(folder: Path, split: str, rows: Callable[[Table, str], Rows]) -> Rows:
    """What ``rows`` makes of the table of a split, given that table and how messages call it.

    Raises:
        UserError: the split is missing, empty or unreadable, its files do not agree, or ``rows`` refuses it.
    """
    files = parquet_files(folder, split)
    if not files:
        raise missing(folder, split, (pattern for name in SPLITS[split] for pattern in parquet_names(name)))
    # A file without rows may say anything of its columns.
    heads = {file: head for file in files if (head := _head(file)) is not None}
    if not heads:
        raise UserError(f"{folder}: {split} has no rows")
    first, (columns, classes) = next(iter(heads.items()))
    for file, head in heads.items():
        if head != (columns, classes):
            raise UserError(f"{file} has other columns or classes than {first.name}")
    return rows(Table(columns, classes, lambda wanted: _records(heads, wanted)), f"{folder}: {split}")


def missing(folder: Path, split: str, names: Iterable[str]) -> UserError:
    """That ``folder`` has none of the files ``names`` for a split."""
    return UserError(f"data folder {folder} has no {split} split: looked for {', '.join(names)}")


def _head(file: Path) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]] | None:
    """The columns of a file and the classes it knows; None where it has no rows."""
    with _opened(file) as opened:
        if not opened.metadata.num_rows:
            return None
        columns, notes = tuple(opened.schema_arrow.names), (opened.schema_arrow.metadata or {}).get(b"huggingface")
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{file} has the column {twice} twice")
    return columns, {} if notes is None else _classes(notes, file)


def _classes(notes: bytes, file: Path) -> dict[str, tuple[str, ...]]:
    """The names of classes by column, from what `datasets` notes in the schema of a file."""
    try:
        features = json.loads(notes).get("info", {}).get("features", {})
        found = {column: kind["names"] for column, kind in features.items() if kind.get("_type") == "ClassLabel"}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as problem:
        raise UserError(f"{file}: what its schema notes of its columns for `datasets` cannot be read") from problem
    for column, names in found.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{file}: the names of the classes in column {column} must be a list of texts")
    return {column: tuple(names) for column, names in found.items()}


def _records(files: Iterable[Path], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for file in files:
        with _opened(file) as opened:
            for batch in opened.iter_batches(BATCH, columns=[*columns]):
                yield from batch.to_pylist()


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """A Parquet file, from an open file: given a name, pyarrow may take it for an address."""
    from pyarrow import parquet

    try:
        with file.open("rb") as stream:
            if not file.stat().st_size:
                raise UserError(f"{file} is empty")
            with parquet.ParquetFile(stream) as opened:
                yield opened
    except UserError:
        raise
    except OSError as problem:
        # Pyarrow raises this kind as well, and then without a number.
        reason = problem.strerror or "it is broken"
        raise UserError(f"{file} cannot be read as Parquet: {reason}") from problem
    except Exception as problem:  # broken bytes may raise anything in pyarrow
        raise UserError(f"{file} cannot be read as Parquet: it is broken, or of another kind") from problem
