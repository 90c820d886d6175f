"""An executor whose processes are forked from the server of the other tests, which has imported everything."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from launching import CONTEXT

from cnas.sweeps.__main__ import work
from cnas.sweeps.executors import Start

TINY = Path(__file__).parents[1] / "tiny_recipe.py"


class Forked:
    """Its settings, and what starts processes."""

    AT_ONCE: ClassVar[int | None] = 1

    @contextmanager
    def open(self, home: Path, at_once: int, waiting: int) -> Iterator[Start]:
        yield self.start

    def start(self, command: Sequence[str], log: Path) -> ForkedWork:
        process = CONTEXT.Process(target=_child, args=(command[-1], log), daemon=True)
        process.start()
        return ForkedWork(process)


class ForkedWork:
    def __init__(self, process: Any) -> None:
        self.process = process

    def code(self) -> int | None:
        found: int | None = self.process.exitcode
        return found

    def stop(self) -> None:
        self.process.terminate()


def _child(folder: str, log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(file, number)
    sys.exit(work(Path(folder)))
