"""What a reader may do with a stranger's input: take it, or refuse it with an error of ours."""

from __future__ import annotations

import contextlib
import io
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnas.cli.main import main
from cnas.errors import CnasError, one_line

ADDRESS = re.compile(r" at 0x[0-9a-f]{4,}")
"""Of something in memory, as Python shows what cannot be shown."""


def taken(call: Callable[[], Any]) -> bool:
    """Whether ``call`` took its input; its refusal must fit on a line of a terminal."""
    try:
        call()
    except CnasError as refusal:
        message = one_line(refusal)
        assert message.isprintable(), message
        assert not ADDRESS.search(message), message
        assert 10 < len(message) < 4000, message
        return False
    return True


def command(*words: str) -> Callable[[], None]:
    """A `cnas` command as a call that raises what the command says in its one line."""

    def call() -> None:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(words))
        assert "Traceback" not in out.getvalue() + err.getvalue()
        if code:
            line = err.getvalue()
            assert code in {2, 3, 5}, (code, line)
            assert line.startswith("error: "), line
            assert line.count("\n") == 1, line
            raise CnasError(line.removeprefix("error: ").rstrip("\n"))

    return call


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder; links are not followed."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in folder.rglob("*")
    }


class Counted:
    """How many inputs were taken, and how many refused."""

    def __init__(self) -> None:
        self.counts: Counter[bool] = Counter()

    def add(self, call: Callable[[], Any]) -> bool:
        found = taken(call)
        self.counts[found] += 1
        return found

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def both(self) -> None:
        """A corpus that is always taken, or always refused, tests nothing."""
        assert min(self.counts[True], self.counts[False]) > 0, self.counts

    def __str__(self) -> str:
        taken_, refused = self.counts[True], self.counts[False]
        return f"{self.total:,} inputs: {taken_:,} taken, {refused:,} refused in one line, 0 other errors"
