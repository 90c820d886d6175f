"""Errors in the user's language, each with the exit code a recipe ends with."""

from __future__ import annotations


class CnasError(Exception):
    """Base of the errors `cnas` raises on purpose: one line, no traceback, its own exit code."""

    exit_code = 1


class UserError(CnasError, ValueError):
    """A field, a file or a flag is wrong: the message names it, its value and what is allowed."""

    exit_code = 2


class CheckpointError(CnasError):
    """Checkpoints exist and none of them is whole."""

    exit_code = 3


class NonFiniteError(CnasError):
    """A loss or a gradient became NaN or infinite; the weights were not updated with it."""

    exit_code = 4


class StorageError(CnasError):
    """The disk refused a write; what was there before is untouched."""

    exit_code = 5


class PushError(CnasError):
    """The Hub refused, or could not be reached: the message says what is uploaded and what is left."""

    exit_code = 6


class Stopped(CnasError):  # noqa: N818 - nothing went wrong
    """A signal asked the run to stop; it has saved its state and can be resumed."""

    exit_code = 75
