"""Data sets of the Hugging Face Hub, through `datasets`."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from cnas.data._folder import text_rows
from cnas.data._parquet import BATCH, Table
from cnas.data._splits import SPLITS, split_names
from cnas.errors import UserError

_ALIASES = {"ptb_text_only": "ptb-text-only/ptb_text_only"}
_PARQUET = "refs/convert/parquet"
# Its only branch holds a loading script, which `datasets` no longer runs; the Hub keeps a Parquet conversion beside it.
_REVISIONS = {"ptb-text-only/ptb_text_only": _PARQUET}
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
"""What the name of a Hub data set looks like."""


def read_hub(data: str) -> dict[str, list[str]]:
    """The rows of the three splits of a Hub data set.

    Raises:
        UserError: no such name, the Hub is out of reach, a split or the text column is missing.
    """
    name = _ALIASES.get(data, data)
    if not HUB_ID.fullmatch(name):
        raise UserError(f"data must be pydoc, ptb_text_only, an existing folder or a Hub id (owner/name), got {data!r}")
    tables = load_tables(name, data, "Parquet or txt files (train, validation, test)")
    found = split_names(tables, f"data {data}")
    for split, alias in found.items():
        if alias is None:
            raise UserError(f"data {data} has no {split} split: looked for {SPLITS[split]}, found {sorted(tables)}")
    return {split: text_rows(as_table(tables[alias]), f"data {data}: {split}") for split, alias in found.items()}


def as_table(dataset: Any) -> Table:
    """A split of `datasets` in the same form as local files."""
    import datasets

    def records(columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        # In Arrow's format, images are what they are in the file, so that a broken one can be named.
        for batch in dataset.select_columns([*columns]).with_format("arrow").iter(BATCH):
            yield from batch.to_pylist()

    kinds = dataset.features.items()
    classes = {name: tuple(kind.names) for name, kind in kinds if isinstance(kind, datasets.ClassLabel)}
    return Table(tuple(dataset.column_names), classes, records)


def load_tables(name: str, data: str, files: str) -> Any:
    """The splits of a Hub data set, by their names there.

    Args:
        name: its id.
        data: how the user calls it.
        files: what a local folder could hold instead.

    Raises:
        UserError: it is not there, out of reach, or cannot be loaded.
    """
    import datasets

    known = (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError)
    try:
        return _load_revision(name, _REVISIONS.get(name))
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
