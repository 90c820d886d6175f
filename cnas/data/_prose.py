"""From documentation to plain sentences in the style of the Penn Treebank: lower case, no punctuation, numbers as N."""

from __future__ import annotations

import re
from collections.abc import Iterator

MIN_WORDS, MAX_WORDS = 4, 82
"""The bounds of a sentence; 82 is the longest sentence of the Penn Treebank."""

# Grammar, doctests, rst directives and fields, underlines of headings, tables: none of them is prose.
_NOT_PROSE = re.compile(
    r"::=|>>>|^\s*(\.\.\s|:[\w ]+:|@\w|\$|[=\-*~^+|#]{3,})|\S {3,}\S|\* \* \*|\t\S+\t", re.MULTILINE
)
_BULLET = re.compile(r"^\s*(?:[*+\-o•]|\(?\d+[.)])\s+")
_SENTENCE_END = re.compile(r"(?<=[.!?:])[\"'”’)]*\s+(?=[\"'“‘(*`]*[A-Z])")
_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|resp|approx)\.", re.IGNORECASE)
_SHAPE = re.compile(r"[\"'“‘(*`]*[A-Z].*[a-z)\"'”’`*][.!?:]*[\"'”’)]*", re.DOTALL)
_CODE = re.compile(r"[=<>\[\]{}|\\/@#%^&~$_]|\w\(|\(\)|\w\.\w")
_WORD = re.compile(r"\d+(?:[.,]\d+)*|n't|'(?:s|re|ve|ll|d|m)\b|[a-z]+?(?=n't)|[a-z]+(?:-[a-z]+)*")
_NUMBER = re.compile(r"\d.*")

_COMMON = """
a an the this that these those it its they their you your we there which who what when where how if of to in on at
by for from with without as into than and or but not no nor be is are was were been being has have had do does can
could may might must should will would all any each every some such only other one same so then also
"""
# Their share tells prose from lists of names.
_FUNCTION_WORDS = frozenset(_COMMON.split())
# A sentence that ends in one of them led up to an example that is not there.
_DANGLING = frozenset(("a", "an", "the", "to", "of", "and", "or", "is", "are", "if", "as", "that", "with", "by"))


def sentences(paragraph: str) -> Iterator[str]:
    """The sentences of one paragraph that read like prose, cleaned.

    Example:
        >>> list(sentences("The file's size is 12 bytes.  Don't read it with os.stat(), e.g. twice.  Or use f(x)[0]."))
        ["the file 's size is N bytes", "do n't read it with os stat eg twice"]
    """
    if _NOT_PROSE.search(paragraph):
        return
    text = " ".join(_BULLET.sub("", paragraph).replace("’", "'").split())
    text = _ABBREVIATION.sub(lambda match: match[0].replace(".", ""), text)
    for sentence in _SENTENCE_END.split(text):
        words = [_NUMBER.sub("N", word) for word in _WORD.findall(sentence.lower())]
        if _is_prose(sentence, words):
            yield " ".join(words)


def _is_prose(sentence: str, words: list[str]) -> bool:
    """Whether a sentence is worth learning: right length and shape, little code, enough function words."""
    if not MIN_WORDS <= len(words) <= MAX_WORDS or not _SHAPE.fullmatch(sentence):
        return False
    if words[-1] in _DANGLING or " -- " in sentence:  # the dashes are those of a list of names with glosses
        return False
    code = len(_CODE.findall(sentence))
    common = sum(word in _FUNCTION_WORDS for word in words)
    symbols = sum(len(word) == 1 and word != "a" for word in words)
    return code * 4 <= len(words) and common * 6 >= len(words) and symbols * 6 <= len(words)
