"""Errors in the user's language, each with the exit code a recipe ends with."""

from __future__ import annotations

import os
import reprlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

INTERRUPTED = 130
"""The exit code by which a shell knows that Ctrl-C ended a command before there was anything to save."""


class CnasError(Exception):
    """Base of the errors `cnas` raises on purpose: one line, no traceback, its own exit code."""

    exit_code = 1
    everywhere = False
    """Whether each process says so; otherwise all fail alike, and one speaks for them."""


class UserError(CnasError, ValueError):
    """A field, a file or a flag is wrong: the message names it, its value and what is allowed."""

    exit_code = 2


class CheckpointError(CnasError):
    """Checkpoints exist and none of them is whole."""

    exit_code = 3


class NonFiniteError(CnasError):
    """Losses or gradients stayed NaN, infinite or far too large; the weights were not updated with them."""

    exit_code = 4


class StorageError(CnasError):
    """The disk refused a write; what was there before is untouched."""

    exit_code = 5


class PushError(CnasError):
    """The Hub refused, or could not be reached: the message says what is uploaded and what is still missing."""

    exit_code = 6


class ProcessGroupError(CnasError):
    """The processes of a run have lost one another, or hold different numbers; the last checkpoint is kept."""

    exit_code = 7
    everywhere = True


class Stopped(CnasError):  # noqa: N818 - nothing went wrong
    """A signal or a time limit asked the run to stop; it has saved its state and can be resumed."""

    exit_code = 75


LONGEST = 1500
"""Characters of a message that are printed; it may quote what somebody else has written."""


def one_line(problem: BaseException) -> str:
    r"""A message as it is printed: on one line, without what could steer a terminal.

    Example:
        >>> print(one_line(UserError("name 'a\nb\x1b[31m' is not allowed")))
        name 'a\nb\x1b[31m' is not allowed
    """
    text = str(problem)
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def reported(problem: CnasError) -> int:
    """Print an error as one line on stderr; returns its exit code.

    All processes fail alike, mostly; one of each machine says so.
    """
    if problem.everywhere or os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"error: {one_line(problem)}", file=sys.stderr, flush=True)
    return problem.exit_code


def wrong_value(problem: ValidationError, values: Any) -> str:
    """The first of pydantic's errors in one line: the dotted name of a value, what is allowed, what it is.

    Args:
        problem: what pydantic has raised.
        values: what was validated.
    """
    error = problem.errors()[0]
    names: list[str] = []
    inner = values
    for step in error["loc"]:
        # Of a union, the location also names the alternative that was tried.
        if isinstance(inner, Mapping) and step in inner:
            names, inner = [*names, str(step)], inner[step]
    if error["type"] == "missing":
        return f"{'.'.join([*names, str(error['loc'][-1])])} is missing"
    allowed = error["msg"].removeprefix("Input should be ").partition(" or instance of")[0]
    return f"{'.'.join(names)} must be {allowed}, got {reprlib.repr(error['input'])}"
