r"""What a line is and what a word is: one definition for text files, tables and the tokenizer a model is left with.

A line ends at ``\n``, ``\r\n`` or ``\r``, and where a row or a file does. A word is as long a run as possible of
characters that are no blanks. Other characters that Unicode calls line breaks (form feed, ``U+0085``, ``U+2028``) are
blanks within a line. So is the byte-order mark ``U+FEFF``, which stays behind within a text that was put together from
several files.
"""

from __future__ import annotations

import re

LINE_ENDS = "\n\r"

BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What separates words: all that `str.split` takes for white space, and the byte-order mark."""

_WORD = re.compile(f"[^{BLANKS}]+")
_LINE_END = re.compile("\r\n|[\n\r]")


def lines(text: str) -> list[str]:
    r"""The lines of a text, without what ends them; what comes after the last end is a line as well.

    Example:
        >>> lines("a b\r\nc\rd\n")
        ['a b', 'c', 'd', '']
    """
    return _LINE_END.split(text)


def words(line: str) -> list[str]:
    r"""The words of a line.

    Example:
        >>> words(" the\tcat\u00a0sat ")
        ['the', 'cat', 'sat']
    """
    return _WORD.findall(line)
