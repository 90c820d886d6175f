"""Tables of rows, one for each split, and those of the Parquet files of a local folder.

Local files are read where they lie, as they are now: nothing is copied to a cache, and no name is taken for a pattern.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnas.errors import UserError

SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""The splits, and the names that a file, a folder or a Hub data set may give them."""


def the_one(found: Sequence[str], split: str, where: str) -> str | None:
    """The name under which a split is there; None where it is not.

    Args:
        found: the names under which it is there.
        split: one of `SPLITS`.
        where: how messages call the data.

    Raises:
        UserError: there are two.

    Example:
        >>> the_one(["val"], "validation", "data mine"), the_one([], "validation", "data mine")
        ('val', None)
    """
    if len(found) > 1:
        raise UserError(f"{where} has {found[0]} and {found[1]}, which both name its {split} split; take one away")
    return found[0] if found else None


BATCH = 1000
"""Rows that are unpacked at a time."""


@dataclass(frozen=True)
class Table:
    """The rows of a split, whoever holds them.

    Args:
        where: how messages call it.
        columns: the names of all columns.
        classes: names of classes by column, where the table knows them.
        records: the rows in order, with the columns asked for; images are still encoded.
    """

    where: str
    columns: tuple[str, ...]
    classes: Mapping[str, tuple[str, ...]]
    records: Callable[[Sequence[str]], Iterator[dict[str, Any]]]

    def column(self, kind: str, names: Sequence[str], chosen: str | None = None) -> str:
        """The first of the names that is a column's.

        Args:
            kind: what it holds, for a message.
            names: where it is looked for, in this order.
            chosen: looked for alone, where it is given.

        Raises:
            UserError: there is no such column.
        """
        wanted = names if chosen is None else (chosen,)
        found = next((name for name in wanted if name in self.columns), None)
        if found is None:
            needed = f"one of {', '.join(wanted)} is needed, found {[*self.columns]}"
            raise UserError(f"{self.where} has no {kind} column: {needed}")
        return found


def parquet_files(folder: Path) -> dict[str, list[Path]]:
    """The Parquet files of each split that is there, in order.

    Raises:
        UserError: a split is there twice.
    """
    found = {}
    for split, names in SPLITS.items():
        patterns = (pattern for name in names for pattern in parquet_names(name))
        there = {pattern: files for pattern in patterns if (files := sorted(folder.glob(pattern)))}
        if chosen := the_one(list(there), split, f"data folder {folder}"):
            found[split] = there[chosen]
    return found


def parquet_names(name: str) -> tuple[str, str]:
    """What the file of a split, or its files, are called."""
    return f"{name}.parquet", f"{name}-*.parquet"


def parquet_tables(folder: Path, files: Mapping[str, Sequence[Path]], needed: Collection[str]) -> dict[str, Table]:
    """The tables of the splits that are there.

    Args:
        folder: that holds them.
        files: as `parquet_files` gives them.
        needed: the splits that have to be there.

    Raises:
        UserError: a split is missing, empty or unreadable, or its files do not agree.
    """
    for split in needed:
        if split not in files:
            raise missing(folder, split, (pattern for name in SPLITS[split] for pattern in parquet_names(name)))
    return {split: _parquet_table(these, f"{folder}: {split}") for split, these in files.items()}


def missing(folder: Path, split: str, names: Iterable[str]) -> UserError:
    """That ``folder`` has none of the files ``names`` for a split."""
    return UserError(f"data folder {folder} has no {split} split: looked for {', '.join(names)}")


def _parquet_table(files: Sequence[Path], where: str) -> Table:
    # A file without rows may say anything of its columns.
    heads = {file: head for file in files if (head := _head(file)) is not None}
    if not heads:
        raise UserError(f"{where} has no rows")
    first, (columns, classes) = next(iter(heads.items()))
    for file, head in heads.items():
        if head != (columns, classes):
            raise UserError(f"{file} has other columns or classes than {first.name}")
    return Table(where, columns, classes, lambda wanted: _records(heads, wanted))


Head = tuple[tuple[str, ...], dict[str, tuple[str, ...]]]
"""The columns of a table, and the names of classes by column."""


def _head(file: Path) -> Head | None:
    """What a file says of its columns; None where it has no rows."""
    with opened_parquet(file) as opened:
        return columns_of(opened.schema_arrow, str(file)) if opened.metadata.num_rows else None


def columns_of(schema: Any, where: str) -> Head:
    """The columns of an Arrow schema, and the classes that `datasets` notes in it."""
    columns, notes = tuple(schema.names), (schema.metadata or {}).get(b"huggingface", b"{}")
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{where} has the column {twice} twice")
    try:
        features = json.loads(notes).get("info", {}).get("features", {})
        found = {column: kind["names"] for column, kind in features.items() if kind.get("_type") == "ClassLabel"}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as problem:
        raise UserError(f"{where}: what its schema notes of its columns for `datasets` cannot be read") from problem
    for column, names in found.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{where}: the names of the classes in column {column} must be a list of texts")
    return columns, {column: tuple(names) for column, names in found.items()}


def _records(files: Iterable[Path], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for file in files:
        with opened_parquet(file) as opened:
            for batch in opened.iter_batches(BATCH, columns=[*columns]):
                yield from batch.to_pylist()


@contextmanager
def opened_parquet(file: Path) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile` of an open file: given a name, pyarrow may take it for an address.

    Raises:
        UserError: it cannot be read, also while it is open.
    """
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
