"""How a NATS cell is written: for every node after the input the operations it reads its predecessors through.

    |nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|

The number behind an operation is the node that is read (the notation of NATS-Bench).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cnas.errors import UserError
from cnas.spaces.nats.topology import EDGES, OPERATIONS

MAX_TEXT = 256
"""Longest notation that is looked at; the longest that means something has 113 characters."""

EXAMPLE = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"


def write(operations: Sequence[int]) -> str:
    """The notation of one operation per edge, given as indices into `OPERATIONS`.

    Example:
        >>> write([3, 0, 1, 4, 0, 2])
        '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|'
    """
    return "".join(f"{_before(edge)}{OPERATIONS[pick]}{_after(edge)}" for edge, pick in enumerate(operations))


def read(text: str) -> list[int]:
    """The inverse of `write`.

    Raises:
        UserError: where the text departs from the notation, telling the character, counted from 1, and what is allowed.
    """
    if len(text) > MAX_TEXT:
        raise UserError(
            f"architecture {_show(text)} must have the form {EXAMPLE}, at most {MAX_TEXT} characters, got {len(text)}"
        )
    position, operations = 0, []
    for edge in range(len(EDGES)):
        position = _literal(text, position, _before(edge))
        word = re.compile("[0-9A-Za-z_]*").match(text, position)
        assert word is not None
        if word[0] not in OPERATIONS:
            _refuse(text, position, f"one of {', '.join(OPERATIONS)}")
        operations.append(OPERATIONS.index(word[0]))
        position = _literal(text, word.end(), _after(edge))
    if position < len(text):
        _refuse(text, position, "the end")
    return operations


def _before(edge: int) -> str:
    return "" if EDGES[edge][1] else "|" if edge == 0 else "+|"


def _after(edge: int) -> str:
    return f"~{EDGES[edge][1]}|"


def _literal(text: str, position: int, expected: str) -> int:
    """The position behind ``expected``, which must stand at ``position``."""
    if not text.startswith(expected, position):
        _refuse(text, position, repr(expected))
    return position + len(expected)


def _refuse(text: str, position: int, allowed: str) -> None:
    found = repr(text[position : position + 16]) if position < len(text) else "nothing"
    raise UserError(f"architecture {_show(text)}: character {position + 1} must be {allowed}, got {found}")


def _show(text: str) -> str:
    return repr(text[:60])
