"""What a stranger's run folder may do to those who read it: be refused, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnas.errors import CnasError, UserError

_UNEXPECTED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What comes of a value that is not what a run writes."""


@contextmanager
def reading(folder: Path | str) -> Iterator[None]:
    """While it lasts, a value that is not what a run writes is the folder's mistake.

    Fields that matter are checked where they are read, with messages that name them; this is for all others.

    Args:
        folder: of the run.

    Raises:
        UserError: a value has a type or a size that nobody expected.
    """
    try:
        yield
    except CnasError:
        raise
    except _UNEXPECTED as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:120]
        raise UserError(f"run {str(folder)[:80]!r} holds values that no run writes: {reason}") from problem
