"""The splits of a data set, whatever it is made of: files, folders, or tables of the Hub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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


def split_names(there: Iterable[str], where: str) -> dict[str, str | None]:
    """Which of the names ``there`` is which split.

    Args:
        there: names of a data set's parts.
        where: how messages call the data.

    Raises:
        UserError: two of them are names of one split.

    Example:
        >>> split_names(["train", "dev", "unsupervised"], "data mine")
        {'train': 'train', 'validation': 'dev', 'test': None}
    """
    parts = set(there)
    return {split: the_one([name for name in names if name in parts], split, where) for split, names in SPLITS.items()}
