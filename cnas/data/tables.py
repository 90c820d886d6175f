"""Tables of rows, one for each split: Parquet files of a local folder, data sets of the Hub, or those in memory.

Local files are read where they lie, as they are now: nothing is copied to a cache, and no name is taken for a pattern.
Names on the Hub go through `datasets`.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
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
        return _columns(opened.schema_arrow, str(file)) if opened.metadata.num_rows else None


def _columns(schema: Any, where: str) -> Head:
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


_PARQUET = "refs/convert/parquet"
# Its only branch holds a loading script, which `datasets` no longer runs; the Hub keeps a Parquet conversion beside it.
_REVISIONS = {"ptb-text-only/ptb_text_only": _PARQUET}
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def hub_tables(data: str, hub_id: str, *, known: str, files: str, needed: Collection[str]) -> dict[str, Table]:
    """The tables of the splits that a data set of the Hub has.

    Args:
        data: how the user calls it.
        hub_id: its id.
        known: short names that are allowed too, for a message.
        files: what a local folder could hold instead, for a message.
        needed: the splits that have to be there.

    Raises:
        UserError: no such name, the Hub is out of reach, or a split is missing.
    """
    if not _HUB_ID.fullmatch(hub_id):
        raise UserError(f"data must be {known}, an existing folder or a Hub id (owner/name), got {data!r}")
    return dataset_tables(_load(hub_id, data, files), f"data {data}", needed=needed)


def dataset_tables(splits: Mapping[str, Any], where: str, needed: Collection[str]) -> dict[str, Table]:
    """The tables of the splits that are there.

    Args:
        splits: a `datasets.Dataset` by the name of each split, as in a `DatasetDict`.
        where: how messages call the data.
        needed: the splits that have to be there.

    Raises:
        UserError: a split is missing, or there under two names.
    """
    found = {}
    for split, names in SPLITS.items():
        alias = the_one([name for name in names if name in splits], split, where)
        if alias is not None:
            found[split] = _dataset_table(splits[alias], f"{where}: {split}")
        elif split in needed:
            raise UserError(f"{where} has no {split} split: looked for {names}, found {sorted(splits)}")
    return found


IN_MEMORY = "in memory"
"""What messages call data that has no name."""
OBJECT = "dataset:"
"""How the name of such data begins in results and configurations; the rest is its fingerprint."""


class DataTypeError(UserError, TypeError):
    """Data is an object of a type that cannot be read."""


def check_named(data: str, eval_dataset: Any) -> None:
    """Raise a `UserError` where named data is that of an object, or has evaluation data beside its own splits."""
    if data.startswith(OBJECT):
        raise UserError(f"data {data!r:.60} was a Dataset of a Python script: give it there, as train_dataset")
    if eval_dataset is not None:
        raise UserError(f"eval_dataset must be none beside data {data}, whose own splits are evaluated on")


def object_tables(data: Any, eval_dataset: Any) -> dict[str, Table]:
    """The tables of data in memory: training, and validation, test or both.

    Args:
        data: a `datasets.Dataset` to train on, or a `DatasetDict` of splits.
        eval_dataset: what is validated on, or a `DatasetDict` of that and of what is tested on; its splits count before
            those of ``data``. None where ``data`` has them.

    Raises:
        UserError: there is nothing to evaluate on, or a split is there twice.
        DataTypeError: one of them is of another kind.
    """
    tables = dataset_tables(_as_splits(data, "train_dataset", "train"), "train_dataset", needed=("train",))
    if eval_dataset is not None:
        splits = _as_splits(eval_dataset, "eval_dataset", "validation")
        evaluated = dataset_tables(splits, "eval_dataset", needed=("validation",))
        tables |= {split: table for split, table in evaluated.items() if split != "train"}
    if len(tables) == 1:
        raise UserError(
            "train_dataset has no validation split; give eval_dataset, a Dataset or a DatasetDict with validation and "
            "test, or a DatasetDict that has them"
        )
    return {split: tables[split] for split in SPLITS if split in tables}


def evaluation_table(data: Any) -> Table:
    """The table of a `datasets.Dataset`, or of the ``validation`` split of a `DatasetDict`, or else of its ``test``.

    Raises:
        UserError: there is neither.
        DataTypeError: it is something else.
    """
    tables = dataset_tables(_as_splits(data, "eval_dataset", "validation"), "eval_dataset", needed=())
    found = tables.get("validation") or tables.get("test")
    if found is None:
        raise UserError(f"eval_dataset has neither a validation nor a test split, found {sorted(data)}")
    return found


def _as_splits(data: Any, field: str, alone: str) -> Mapping[str, Any]:
    """The `datasets.Dataset` of each split; one that is no mapping is that of the split ``alone``."""
    import datasets

    splits = data if isinstance(data, dict) else {alone: data}
    for each in splits.values():
        if isinstance(each, datasets.IterableDataset):
            raise DataTypeError(f"{field} must have a length, for which units are counted, got an IterableDataset")
        if not isinstance(each, datasets.Dataset):
            kinds = "a name, a path, a Dataset or a DatasetDict"
            raise DataTypeError(f"{field} must be {kinds}, got {type(each).__name__}")
    return splits


def _dataset_table(dataset: Any, where: str) -> Table:
    def records(columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        # In Arrow's format, images are what they are in the file, so that a broken one can be named.
        for batch in dataset.select_columns([*columns]).with_format("arrow").iter(BATCH):
            yield from batch.to_pylist()

    return Table(where, *_columns(dataset.features.arrow_schema, where), records)


def _load(hub_id: str, data: str, files: str) -> Any:
    """The splits of a data set of the Hub by their names there, or one line that says why there are none."""
    import datasets

    known = (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError)
    try:
        return _load_revision(hub_id, _REVISIONS.get(hub_id))
    except known as error:
        if (problem := _cache_problem(error)) is not None:
            raise UserError(f"data {data} needs the cache of `datasets`, {problem}; name another in HF_HOME") from error
        if not isinstance(error, ConnectionError | datasets.exceptions.DatasetNotFoundError):
            raise UserError(f"data {data} cannot be loaded: {' '.join(str(error).split())}") from error
        raise UserError(
            f"data {data} is neither an existing folder nor within reach on the Hub; without network either pass a "
            f"folder of {files} as --data, or load it once online: HF_HUB_OFFLINE=1 then reads it from the cache"
        ) from error


def _cache_problem(error: Exception) -> str | None:
    """Which folder of the cache cannot be written, and why; None where all can."""
    import datasets
    from huggingface_hub import constants

    folders = [str(datasets.config.HF_DATASETS_CACHE), constants.HF_HUB_CACHE]
    for folder in folders:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()
        except OSError as problem:
            return f"and {folder} cannot be written: {problem.strerror}"
    full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}
    return f"and the disk of {' or '.join(folders)} is full" if full else None


def _load_revision(name: str, revision: str | None) -> Any:
    import datasets

    try:
        return datasets.load_dataset(name, revision=revision)
    except RuntimeError as error:
        if revision is not None or "scripts are no longer supported" not in str(error):
            raise
    return datasets.load_dataset(name, revision=_PARQUET)
