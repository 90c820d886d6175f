"""The bytes of a text file as text: UTF-8, or one line that says what they are instead."""

from __future__ import annotations

import codecs
from pathlib import Path

from cnas.data.words import lines
from cnas.errors import UserError

NUL = "\0"
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32 (little-endian)",
    codecs.BOM_UTF32_BE: "UTF-32 (big-endian)",
    codecs.BOM_UTF16_LE: "UTF-16 (little-endian)",
    codecs.BOM_UTF16_BE: "UTF-16 (big-endian)",
}
"""By what a file begins with; the mark of UTF-16 begins that of UTF-32, so the longer ones come first."""
_SHARE = 50
"""Text has a blank or another character below 256 more often than every so many characters."""


def decoded(content: bytes, file: Path) -> str:
    """The text of a file.

    Args:
        content: all its bytes.
        file: for messages.

    Raises:
        UserError: the bytes are no UTF-8, or there is a NUL among them; the message says where.
    """
    other = next((kind for mark, kind in _MARKS.items() if content.startswith(mark)), None) or _unmarked(content)
    if other is not None:
        raise UserError(f"{file} is not UTF-8 but {other}; convert it, e.g. with iconv")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8: {_place(content, error.start)}") from error
    if NUL in text:
        raise UserError(f"{file} holds a NUL character: {_place(content, content.index(0))}")
    return text


def _unmarked(content: bytes) -> str | None:
    """What the bytes are, if they look like UTF-16 without a mark: every second one is often 0, the others never."""
    first, second = content[::2].count(0), content[1::2].count(0)
    if min(first, second) > 0 or max(first, second) * 2 * _SHARE < len(content) or max(first, second) < 2:
        return None
    return f"UTF-16 ({'big' if first else 'little'}-endian, without a byte-order mark)"


def _place(content: bytes, offset: int) -> str:
    before = content[:offset].decode(errors="replace")
    return f"line {len(lines(before))}, byte offset {offset}"
