"""What a pickle would do to memory and stack, found out before it is opened.

A pickle of ten bytes may ask for gigabytes, and one of a megabyte may nest tuples so deeply that hashing them ends the
process. Here its operations are counted without doing any of them: sizes have to lie within the file, and so must the
places in which it remembers things.
"""

from __future__ import annotations

import pickletools
from typing import NamedTuple

from cnas.errors import UserError

OPERATIONS = 1_000_000
"""Most operations of a data file; each may make a small object."""
NESTED = 1000
"""Tuples may be nested so deeply; hashing takes a place on the stack for each."""

_SIZED = {-2: 1, -3: 4, -4: 4, -5: 8}
"""By the number `pickletools` has for a kind of operand, the bytes of the size it begins with."""
_PUSH, _MOVE, _TUPLE, _MARK, _POP, _PUT, _MEMOIZE, _GET, _DUP, _FRAME, _STOP = range(11)
_SPECIAL = {
    _TUPLE: ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    _MARK: ("MARK",),
    _POP: ("POP",),
    _PUT: ("PUT", "BINPUT", "LONG_BINPUT"),
    _MEMOIZE: ("MEMOIZE",),
    _GET: ("GET", "BINGET", "LONG_BINGET"),
    _DUP: ("DUP",),
    _FRAME: ("FRAME",),
    _STOP: ("STOP",),
}
_KINDS = {name: kind for kind, names in _SPECIAL.items() for name in names}


class _Step(NamedTuple):
    """One operation.

    Args:
        kind: what is particular about it.
        width: bytes of its operand; below 0 where the operand says so itself.
        lines: of text that are its operand.
        takes: values off the stack, beside those down to the last mark.
        to_mark: whether it takes those.
        leaves: values on the stack.
    """

    kind: int
    width: int
    lines: int
    takes: int
    to_mark: bool
    leaves: int


def _step(opcode: pickletools.OpcodeInfo) -> _Step:
    before, operand = opcode.stack_before, opcode.arg
    to_mark = pickletools.markobject in before
    takes = before.index(pickletools.markobject) if to_mark else len(before)
    width = operand.n if operand else 0
    lines = 0
    if operand and width == pickletools.UP_TO_NEWLINE:
        lines = 2 if operand.name.endswith("_pair") else 1
    pushes = not to_mark and (takes, len(opcode.stack_after)) == (0, 1)
    kind = _KINDS.get(opcode.name, _PUSH if pushes else _MOVE)
    return _Step(kind, width, lines, takes, to_mark, len(opcode.stack_after))


_STEPS = {ord(opcode.code): _step(opcode) for opcode in pickletools.opcodes}


def check_pickle(data: bytes) -> None:
    r"""Nothing, where a pickle stays within its bounds.

    Args:
        data: all of it.

    Raises:
        UserError: it has too many operations, or nests tuples too deeply.
        IndexError, KeyError, ValueError: it is no whole pickle, or asks for more than it holds.

    Example:
        >>> check_pickle(b"\x80\x04\x8e\x00\x00\x00\x00\x00\x00\x00\x40.")
        Traceback (most recent call last):
        ValueError: it asks for 4611686018427387904 bytes and has 1 left
    """
    # Of every value on the stack or remembered, how many tuples are nested in it.
    depths: list[int] = []
    memo: dict[int, int] = {}
    marks: list[int] = []
    position = frame = 0
    for _ in range(OPERATIONS):
        step = _STEPS[data[position]]
        kind, width, *_ = step
        start = position + 1
        position = start + width if width >= 0 else _behind(data, start, step)
        if start <= frame < position:
            # Who opens it would go on elsewhere than it is looked through here.
            raise ValueError("an operation reaches beyond its frame")
        if kind == _PUSH:
            depths.append(0)
        elif kind in (_MOVE, _TUPLE):
            _move(depths, marks, step)
        elif kind == _STOP:
            return
        elif kind == _FRAME:
            frame = _frame(position, frame, _number(data[start:position], step, len(data)))
        elif kind in (_PUT, _GET):
            _remember(depths, memo, kind, _number(data[start:position], step, len(data)))
        else:
            _arrange(depths, memo, marks, kind)
    raise UserError(f"it has more than {OPERATIONS:,} operations")


def _remember(depths: list[int], memo: dict[int, int], kind: int, number: int) -> None:
    """Put the top of the stack in a place of the memo, which is a list up to the largest one, or get what is there."""
    if kind == _PUT:
        memo[number] = depths[-1]
    else:
        depths.append(memo.get(number, 0))


def _frame(position: int, open_until: int, size: int) -> int:
    """Where a frame ends that begins at ``position``; frames follow one another."""
    if position < open_until:
        raise ValueError("a frame begins within another")
    return position + size


def _arrange(depths: list[int], memo: dict[int, int], marks: list[int], kind: int) -> None:
    """What needs no operand and makes nothing."""
    if kind == _MARK:
        marks.append(len(depths))
    elif kind == _MEMOIZE:
        memo[len(memo)] = depths[-1]
    elif kind == _DUP:
        depths.append(depths[-1])
    elif marks and marks[-1] == len(depths):
        marks.pop()
    else:
        depths.pop()


def _move(depths: list[int], marks: list[int], step: _Step) -> None:
    """Take from the stack and leave there; only tuples are descended into when they are hashed."""
    start = (marks.pop() if step.to_mark else len(depths)) - step.takes
    if start < 0:
        raise IndexError("it takes more than is there")
    deepest = 0
    if step.kind == _TUPLE:
        deepest = 1 + max(depths[start:], default=0)
        if deepest > NESTED:
            raise UserError(f"it nests more than {NESTED} tuples")
    del depths[start:]
    if step.leaves:
        depths.extend([deepest] * step.leaves)


def _behind(data: bytes, start: int, step: _Step) -> int:
    """Where the operand that begins at ``start`` ends."""
    for _ in range(step.lines):
        start = data.index(b"\n", start) + 1
    if step.lines:
        return start
    begin = start + _SIZED[step.width]
    size = int.from_bytes(data[start:begin], "little")
    if size > len(data) - begin:
        raise ValueError(f"it asks for {size} bytes and has {max(len(data) - begin, 0)} left")
    return begin + size


def _number(operand: bytes, step: _Step, limit: int) -> int:
    """A place in the memo, or a length: decimal in old pickles."""
    found = int(operand) if step.lines else int.from_bytes(operand, "little")
    if not 0 <= found <= limit:
        raise ValueError(f"it asks for {found} places and has {limit} bytes")
    return found
