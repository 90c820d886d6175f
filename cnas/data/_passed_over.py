"""What lies in a data folder and is not read: counted, and some of it named, so that nothing is left out in silence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMED = 3
"""So many are named for each reason; a folder may hold thousands."""
HIDDEN = "hidden"
_LITTER = {"__macosx", "thumbs.db", "desktop.ini"}
"""What other systems leave behind in folders, beside names that begin with a dot."""


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is none of the data's: what editors and systems leave behind.

    Example:
        >>> [is_hidden(Path(name)) for name in ("a/.DS_Store", "._x.png", "__MACOSX", "Thumbs.db", ".data/x.png")]
        [True, True, True, True, False]
    """
    return path.name.startswith(".") or path.name.lower() in _LITTER


class PassedOver:
    """Files and folders that are not read, by reason.

    Args:
        folder: of the data; what is passed over is named from there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, list[str]] = {}

    def add(self, path: Path, reason: str) -> None:
        """Count one, below the folder."""
        # A name need not be text; results are.
        name = os.fsencode(path.relative_to(self._folder)).decode("utf-8", "backslashreplace")
        self._found.setdefault(reason, []).append(name)

    def visible(self, folder: Path) -> list[Path]:
        """What is in a folder, in the order of names, less what is hidden.

        Raises:
            OSError: the folder cannot be read.
        """
        entries = sorted(folder.iterdir())
        for path in entries:
            if is_hidden(path):
                self.add(path, HIDDEN)
        return [path for path in entries if not is_hidden(path)]

    def record(self) -> dict[str, dict[str, Any]]:
        """How many for each reason, and the first of them: what ``result.json`` says."""
        return {reason: {"entries": len(names), "first": names[:NAMED]} for reason, names in self._found.items()}


def passed_over_line(record: Mapping[str, Mapping[str, Any]]) -> str:
    """The record in words; empty where there is nothing in it.

    Example:
        >>> passed_over_line({"hidden": {"entries": 5, "first": [".a", ".b", ".c"]}})
        'passed over: 5 hidden (.a, .b, .c, …)'
    """
    parts = []
    for reason, found in record.items():
        names = [*found["first"], *(["…"] if found["entries"] > len(found["first"]) else [])]
        parts.append(f"{found['entries']:,} {reason} ({', '.join(names)})")
    return f"passed over: {'; '.join(parts)}" if parts else ""
