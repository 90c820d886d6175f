"""Splits of a local folder that are Parquet files, whatever is in their rows."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from cnas.data._splits import SPLITS, the_one
from cnas.errors import UserError

Rows = TypeVar("Rows")


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


def read_parquet(folder: Path, split: str, rows: Callable[[Any, str], Rows]) -> Rows:
    """What ``rows`` makes of the table of a split, given that table and how messages call it.

    Raises:
        UserError: the split is missing, empty or unreadable, or ``rows`` refuses it.
    """
    files = parquet_files(folder, split)
    if not files:
        raise missing(folder, split, (pattern for name in SPLITS[split] for pattern in parquet_names(name)))
    for file in files:
        if not file.stat().st_size:
            raise UserError(f"{file} is empty")
    import datasets
    from pyarrow import parquet

    where = f"{folder}: {split}"
    try:
        # The reader of `datasets` stumbles over files without rows.
        paths = [str(file) for file in files if parquet.read_metadata(file).num_rows]
        if not paths:
            raise UserError(f"{where} has no rows")
        # Streaming reads the files as they are now: nothing is copied to a cache that could grow stale.
        with _unlogged("datasets"):
            table = datasets.load_dataset("parquet", data_files={split: paths}, split=split, streaming=True)
            return rows(table, where)
    except UserError:
        raise
    except Exception as error:  # two libraries read the file, and what it says about itself, each with its own errors
        told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"{where} cannot be read as Parquet: {told}") from error


def missing(folder: Path, split: str, names: Iterable[str]) -> UserError:
    """That ``folder`` has none of the files ``names`` for a split."""
    return UserError(f"data folder {folder} has no {split} split: looked for {', '.join(names)}")


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
