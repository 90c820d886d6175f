"""Resolve the paths that users give literally: no patterns, no addresses."""

from __future__ import annotations

import filecmp
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnas.errors import UserError


def named(text: str) -> Path | None:
    """The file or folder of that name, whatever its characters; None where there is none.

    ``[``, ``*``, ``%20`` or ``://`` are letters like any others. A ``~`` at the beginning is the home, unless something
    is really called so.

    Example:
        >>> named("no such thing*"), named("hf://datasets/nobody/nothing"), named("")
        (None, None, None)
    """
    # Unlike the methods of Path, these answer for any string a user may type.
    spellings = (text, os.path.expanduser(text))  # noqa: PTH111
    return next((Path(each) for each in spellings if os.path.exists(each)), None)  # noqa: PTH110


def as_text(data: Any) -> Any:
    """A path as text; anything else as it is.

    Example:
        >>> as_text(Path("corpus")), as_text("pydoc")
        ('corpus', 'pydoc')
    """
    return os.fspath(data) if isinstance(data, os.PathLike) else data


def named_folder(text: str, field: str) -> Path | None:
    """The folder of that name; None where there is nothing of that name.

    Args:
        text: what the user wrote.
        field: where, for messages.

    Raises:
        UserError: it is a file.
    """
    found = named(text)
    if found is not None and not found.is_dir():
        raise UserError(f"{field} must name a folder, got the file {text!r}")
    return found


def same_place(one: str, other: str) -> bool:
    """Whether both name the same file or folder, on whichever way; False where one of them names nothing."""
    first, second = named(one), named(other)
    return first is not None and second is not None and first.samefile(second)


def same_content(one: str, other: str) -> bool:
    """Whether both name files with the same bytes."""
    first, second = named(one), named(other)
    with suppress(OSError):
        return first is not None and second is not None and filecmp.cmp(first, second, shallow=False)
    return False


def plainly(text: str) -> str:
    """The shortest spelling of a path: relative below the working folder, absolute elsewhere; links keep their names.

    Example:
        >>> plainly("./corpus/"), plainly("owner/name"), plainly(f"{os.getcwd()}/a/../b"), plainly("/data/x/")
        ('corpus', 'owner/name', 'b', '/data/x')
    """
    if not text or "\0" in text:
        return text
    whole = Path(os.path.abspath(text))  # noqa: PTH100 - a link is not followed
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else str(whole)
