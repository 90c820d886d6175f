"""What a user's text names on this machine: exactly what is spelled, never a pattern or an address."""

from __future__ import annotations

import os
from pathlib import Path

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
