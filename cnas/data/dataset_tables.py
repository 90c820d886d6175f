"""Tables of what `datasets` has: data sets of the Hub, by their names, and those that a script holds in memory."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from cnas.data.tables import BATCH, SPLITS, Table, columns_of, the_one
from cnas.errors import UserError

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

    return Table(where, *columns_of(dataset.features.arrow_schema, where), records)


def _load(hub_id: str, data: str, files: str) -> Any:
    """The splits of a data set of the Hub by their names there, or one line that says why there are none."""
    import datasets
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    known = (OSError, ValueError, RuntimeError, HTTPError, datasets.exceptions.DatasetsError)
    try:
        return _load_revision(hub_id, _REVISIONS.get(hub_id))
    except known as error:
        if (problem := _cache_problem(error)) is not None:
            raise UserError(f"data {data} needs the cache of `datasets`, {problem}; name another in HF_HOME") from error
        unreached = isinstance(error, HTTPError) and not isinstance(error, HfHubHTTPError)
        if not unreached and not isinstance(error, ConnectionError | datasets.exceptions.DatasetNotFoundError):
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
