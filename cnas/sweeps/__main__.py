"""One run of a sweep, in a process of its own: ``python -m cnas.sweeps FOLDER``, see `cnas.sweeps.many.command`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from cnas.cli.main import exit_code
from cnas.cli.main import main as cnas
from cnas.runs.lock import lock


def work(folder: Path) -> int:
    """Start the run of a folder or go on with it, if nobody else does; returns its exit code.

    Args:
        folder: of the run; it holds ``config.json``.
    """
    argv = ["--config", str(folder / "config.json"), "--output-dir", str(folder), "--resume"]

    def alone() -> int:
        with lock(folder):
            return cnas(["search", *argv])

    return exit_code(alone)


def _outlive_nobody() -> None:
    """Stop, with a checkpoint, when whoever started this process is no more and so its standard input closed."""
    # Not through sys.stdin: a thread that waits in there keeps Python from ending.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    sys.exit(work(Path(sys.argv[1])))
