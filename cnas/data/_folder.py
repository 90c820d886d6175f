"""Text from a local folder: one file per split, Parquet or plain text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cnas.data._parquet import has_parquet, missing, parquet_names, read_parquet
from cnas.data._splits import SPLITS, the_one
from cnas.errors import UserError

COLUMNS = ("sentence", "text", "content")
"""Where the text of a table is looked for, in this order."""


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
    if has_parquet(folder):
        return {name: read_parquet(folder, name, text_rows) for name in SPLITS}
    return {name: _read_txt(folder, name) for name in SPLITS}


def _read_txt(folder: Path, split: str) -> list[str]:
    names = [f"{prefix}{name}.txt" for name in SPLITS[split] for prefix in ("ptb.", "")]
    chosen = the_one([name for name in names if (folder / name).is_file()], split, f"data folder {folder}")
    if chosen is None:
        raise missing(folder, split, [*names, *parquet_names(split)])
    file = folder / chosen
    content = file.read_bytes()
    if not content:
        raise UserError(f"{file} is empty")
    try:
        # Only a newline ends a line here: str.splitlines would also split at form feeds and the like.
        return content.decode().removeprefix("\ufeff").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file} is not UTF-8: line {line}, byte offset {error.start}") from error
