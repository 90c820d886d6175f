"""Data sets of the Hugging Face Hub, through `datasets`."""

from __future__ import annotations

import re
from typing import Any

from cnas.data._folder import text_rows
from cnas.data._splits import SPLITS, split_names
from cnas.errors import UserError

_ALIASES = {"ptb_text_only": "ptb-text-only/ptb_text_only"}
_PARQUET = "refs/convert/parquet"
# Its only branch holds a loading script, which `datasets` no longer runs; the Hub keeps a Parquet conversion beside it.
_REVISIONS = {"ptb-text-only/ptb_text_only": _PARQUET}
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
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
    return {split: text_rows(tables[alias], f"data {data}: {split}") for split, alias in found.items()}


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

    try:
        return _load_revision(name, _REVISIONS.get(name))
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise UserError(
            f"data {data} is neither an existing folder nor within reach on the Hub; without network either pass a "
            f"folder of {files} as --data, or load it once online: HF_HUB_OFFLINE=1 then reads it from the cache"
        ) from error
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise UserError(f"data {data} cannot be loaded: {' '.join(str(error).split())}") from error


def _load_revision(name: str, revision: str | None) -> Any:
    import datasets

    try:
        return datasets.load_dataset(name, revision=revision)
    except RuntimeError as error:
        if revision is not None or "scripts are no longer supported" not in str(error):
            raise
    return datasets.load_dataset(name, revision=_PARQUET)
