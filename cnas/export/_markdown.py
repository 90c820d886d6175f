"""Turns strings from outside into text that cannot change the card around it."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

# Control, format (among them the bidirectional overrides), surrogate and private-use characters; line separators.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_FOLDERS = re.compile(r"(?<![\w.:/\\-])(?:~|[A-Za-z]:)?[/\\](?:[^/\\\s]+[/\\])*")
_MARKS = re.compile(r"[\\`*\[\]|~$]")
_START = re.compile(r"^\d+(?=[.)](?:\s|$))|^(?=[-+=#_])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def one_line(value: Any) -> str:
    r"""``str(value)`` with characters that print nothing, and all white space, as single blanks.

    Example:
        >>> one_line("a\n---\u202e\tb")
        'a --- b'
    """
    text = "".join(" " if unicodedata.category(character) in _UNSEEN else character for character in str(value))
    return " ".join(text.split())


def name(value: Any) -> str:
    """One line in which absolute paths have lost their folders; ``unnamed`` where nothing is left.

    Example:
        >>> name("/home/ada/texts/novel"), name("owner/data")
        ('novel', 'owner/data')
    """
    return _FOLDERS.sub("", one_line(value)) or "unnamed"


def plain(value: Any) -> str:
    r"""One line of Markdown that reads as ``value``, with nothing in it marked up.

    Example:
        >>> print(plain("<b> a|b `c` [d](e)"))
        &lt;b&gt; a\|b \`c\` \[d\](e)
    """
    text = _START.sub(r"\g<0>\\", _MARKS.sub(r"\\\g<0>", one_line(value)))
    return "".join(_HTML.get(character, character) for character in text)


def block(text: str, language: str) -> str:
    """A fenced code block that no line of ``text`` can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def code(value: Any) -> str:
    """One line for a code span; back quotes become straight ones."""
    return one_line(value).replace("`", "'")
