"""Fills Markdown templates, and turns strings from outside into text that cannot change the page around it."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any

# Control, format (among them the bidirectional overrides), surrogate and private-use characters; line separators.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_FOLDERS = re.compile(r"(?<![\w.:/\\-])(?:~|[A-Za-z]:)?[/\\](?:[^/\\\s]+[/\\])*")
_PLACE = re.compile(r"(?:[A-Za-z][\w+.-]*:|~[^/\\]*|\.{1,2})?[/\\]")
_MARKS = re.compile(r"[`*\[\]|~$]|(?<!\w)_+|_+(?!\w)|(?<=http):(?=//)|(?<=https):(?=//)|(?<=www)\.|@", re.IGNORECASE)
_START = re.compile(r"^\d+(?=[.)](?:\s|$))|^(?=[-+=#])")
# An escaped backslash before a parenthesis would be what begins a formula on the Hub.
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": "&#92;"}


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


def last_part(value: Any) -> str:
    """`name` of something that may be one path as a whole, whose folders may have blanks in them.

    Example:
        >>> last_part("/home/ada king/texts/novel"), last_part("../ada/novel/"), last_part("owner/data")
        ('novel', 'novel', 'owner/data')
    """
    text = one_line(value)
    if _PLACE.match(text):
        text = re.split(r"[/\\]", text.rstrip("/\\ "))[-1]
    return name(text)


def plain(value: Any) -> str:
    r"""One line of Markdown that reads as ``value``, with nothing in it marked up or linked.

    Example:
        >>> print(plain("<b> a|b `c` [d](e) _f_ g_h"))
        &lt;b&gt; a\|b \`c\` \[d\](e) \_f\_ g_h
    """
    text = "".join(_ENTITIES.get(character, character) for character in one_line(value))
    text = _MARKS.sub(lambda found: "".join(f"\\{mark}" for mark in found[0]), text)
    return _START.sub(r"\g<0>\\", text)


def block(text: str, language: str) -> str:
    """A fenced code block that no line of ``text`` can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def code(value: Any) -> str:
    """A code span of one line; back quotes in it become straight ones, and nothing becomes a dash.

    Example:
        >>> code("0 `1`"), code("")
        ("`0 '1'`", '`–`')
    """
    return f"`{one_line(value).replace('`', chr(39)) or '–'}`"


def fill(package: str, template: str, **values: Any) -> str:
    """The text of a Markdown template; blocks that are left out leave no gap.

    Args:
        package: the package whose folder ``templates`` has it.
        template: the name of its file.
        values: what it is filled with; `plain`, `code`, `block` and `last_part` are its filters.
    """
    text = environment(package).get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@functools.cache
def environment(package: str, *, autoescape: bool = False) -> Any:
    """What finds the templates of a package and knows our filters; for HTML, it escapes what is filled in."""
    import jinja2  # not by those who only spell a name

    loader, strict = jinja2.PackageLoader(package), jinja2.StrictUndefined
    found = jinja2.Environment(
        loader=loader, autoescape=autoescape, trim_blocks=True, lstrip_blocks=True, undefined=strict
    )
    found.filters.update(plain=plain, code=code, block=block, last_part=last_part)
    return found
