"""Text from a local folder: one file per split, Parquet or plain text."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cnas.errors import UserError

COLUMNS = ("sentence", "text", "content")
"""Where the text of a table is looked for, in this order."""

SPLITS = {"train": ("train",), "validation": ("validation", "valid"), "test": ("test",)}
"""The splits, and the names a file or a Hub data set may give them."""


def text_rows(table: Any, where: str) -> list[str]:
    """The text column of one split of a `datasets` table; rows without a text are dropped.

    Args:
        table: anything with ``column_names`` that yields one dict per row.
        where: how messages call it.

    Raises:
        UserError: no such column, or what is in it is no text.
    """
    columns = list(table.column_names or ())
    column = next((name for name in COLUMNS if name in columns), None)
    if column is None:
        raise UserError(f"{where} has no text column: one of {', '.join(COLUMNS)} is needed, found {columns}")
    rows = [row for row in (record[column] for record in table.select_columns(column)) if row is not None]
    strange = next((row for row in rows if not isinstance(row, str)), None)
    if strange is not None:
        raise UserError(f"{where}: column {column} must hold text, got {type(strange).__name__}")
    return rows


def read_folder(folder: Path) -> dict[str, list[str]]:
    """The lines or rows of the three splits of a folder; Parquet wins where there is both.

    Raises:
        UserError: a split is missing, empty, unreadable, not UTF-8, or has no text column.
    """
    read = _read_parquet if any(_parquet_files(folder, name) for name in SPLITS) else _read_txt
    return {name: read(folder, name) for name in SPLITS}


def _read_parquet(folder: Path, split: str) -> list[str]:
    files = _parquet_files(folder, split)
    if not files:
        raise _missing(folder, split, (pattern for name in SPLITS[split] for pattern in _patterns(name)))
    for file in files:
        if not file.stat().st_size:
            raise UserError(f"{file} is empty")
    import datasets

    where = f"{folder}: {split}"
    paths = [str(file) for file in files]
    try:
        # Streaming reads the files as they are now: nothing is copied to a cache that could grow stale.
        with _unlogged("datasets"):
            table = datasets.load_dataset("parquet", data_files={split: paths}, split=split, streaming=True)
            return text_rows(table, where)
    except UserError:
        raise
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise UserError(f"{where} cannot be read as Parquet: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def _unlogged(name: str) -> Iterator[None]:
    """A library does not log on its own what is about to be raised."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _patterns(name: str) -> tuple[str, str]:
    return f"{name}.parquet", f"{name}-*.parquet"


def _parquet_files(folder: Path, split: str) -> list[Path]:
    found = ([*folder.glob(pattern)] for name in SPLITS[split] for pattern in _patterns(name))
    return sorted(next((files for files in found if files), []))


def _read_txt(folder: Path, split: str) -> list[str]:
    names = [f"{prefix}{name}.txt" for name in SPLITS[split] for prefix in ("ptb.", "")]
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None:
        raise _missing(folder, split, [*names, *(_patterns(split))])
    content = file.read_bytes()
    if not content:
        raise UserError(f"{file} is empty")
    try:
        # Only a newline ends a line here: str.splitlines would also split at form feeds and the like.
        return content.decode().removeprefix("\ufeff").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file} is not UTF-8: line {line}, byte offset {error.start}") from error


def _missing(folder: Path, split: str, names: Iterable[str]) -> UserError:
    return UserError(f"data folder {folder} has no {split} split: looked for {', '.join(names)}")
