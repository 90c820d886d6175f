"""Text from a local folder: one file per split, Parquet or plain text."""

from __future__ import annotations

from pathlib import Path

from cnas.data._encoding import NUL, decoded
from cnas.data._parquet import Table, has_parquet, missing, parquet_names, read_parquet
from cnas.data._splits import SPLITS, the_one
from cnas.errors import UserError

COLUMNS = ("sentence", "text", "content")
"""Where the text of a table is looked for, in this order."""


def text_rows(table: Table, where: str) -> list[str]:
    """The text column of one split; a row without a text is empty.

    Args:
        table: its rows.
        where: how messages call it.

    Raises:
        UserError: no such column, or what is in it is no text, or holds a NUL.
    """
    column = next((name for name in COLUMNS if name in table.columns), None)
    if column is None:
        needed = f"one of {', '.join(COLUMNS)} is needed, found {list(table.columns)}"
        raise UserError(f"{where} has no text column: {needed}")
    found = []
    for number, record in enumerate(table.records([column])):
        row = record[column]
        if row is not None and not isinstance(row, str):
            raise UserError(f"{where}: column {column} must hold text, got {type(row).__name__}")
        if row and NUL in row:
            raise UserError(f"{where}: row {number} (from 0) holds a NUL character, at offset {row.index(NUL)}")
        found.append(row or "")
    return found


def read_folder(folder: Path) -> dict[str, list[str]]:
    """The three splits of a folder, each as rows of one or more lines; Parquet wins where there is both.

    Raises:
        UserError: a split is missing, empty, unreadable, not UTF-8, holds a NUL, or has no text column.
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
    try:
        content = file.read_bytes()
    except OSError as problem:
        raise UserError(f"{file} cannot be read: {problem.strerror}") from problem
    if not content:
        raise UserError(f"{file} is empty")
    return [decoded(content, file)]
