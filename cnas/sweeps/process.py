"""How a run of a sweep becomes a process: its command, where its output goes, what it said last."""

from __future__ import annotations

import sys
from pathlib import Path

from cnas.errors import StorageError

LOG = "output.log"
"""What a run prints, in its folder; a resumed run goes on writing to it."""


def command(folder: Path) -> list[str]:
    """The words that bring the run of a folder to its end; its ``config.json`` says which run it is.

    The process stops, with a checkpoint, when its standard input is closed: nobody is left who waits for it.

    Args:
        folder: of the run; it holds ``config.json``.
    """
    return [sys.executable, "-m", "cnas.sweeps", str(folder.resolve())]


def last_line(folder: Path) -> str:
    """The last thing a run has printed, and where the rest is.

    Args:
        folder: of the run.
    """
    log = folder / LOG
    lines = log.read_text("utf-8", "replace").split("\n") if log.exists() else []
    printed = [line for line in lines if line.strip()]
    return f"{printed[-1].strip()[:300] if printed else 'it said nothing'} (log: {log})"


def note(folder: Path, text: str = "") -> None:
    """Add a line to what a run has printed, and see that this is possible.

    Args:
        folder: of the run.
        text: the line; nothing is written where it is empty.

    Raises:
        StorageError: the log cannot be written.
    """
    log = folder / LOG
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{' '.join(text.split())}\n" if text else "")
    except OSError as problem:
        raise StorageError(f"cannot write {log}: {problem.strerror}") from problem
