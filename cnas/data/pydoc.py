"""The embedded corpus `pydoc`: English prose that comes with every CPython.

It is the language reference behind ``help()`` (`pydoc_data.topics`) and the docstrings of the standard library, read
from its sources without importing them. It serves demonstrations and tests where no data set can be had. Its text
changes with the Python version, so results go with its fingerprint, and are never comparable with the Penn Treebank.
Documentation becomes plain sentences in the style of the Penn Treebank: lower case, no punctuation, numbers as N.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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

_SKIPPED = frozenset({"test", "tests", "idle_test", "idlelib", "lib2to3", "site-packages", "dist-packages"})
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def load_pydoc() -> dict[str, tuple[str, ...]]:
    """The sentences of the splits ``train``, ``validation`` and ``test``, about 90 / 5 / 5.

    No sentence occurs twice. Whole paragraphs go to a split by a hash of their words: a neighbour never decides, and
    sentences that belong together stay together.

    Example:
        >>> sorted(load_pydoc())
        ['test', 'train', 'validation']
    """
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    seen: set[str] = set()
    for paragraph in _paragraphs():
        fresh = [sentence for sentence in dict.fromkeys(sentences(paragraph)) if sentence not in seen]
        seen.update(fresh)
        splits[_split(" ".join(fresh))].extend(fresh)
    return {name: tuple(found) for name, found in splits.items()}


def _split(text: str) -> str:
    bucket = hashlib.sha256(text.encode()).digest()[0] * 20 // 256
    return {0: "validation", 1: "test"}.get(bucket, "train")


def _paragraphs() -> Iterator[str]:
    """All paragraphs, in an order that depends on nothing but the Python version."""
    from pydoc_data.topics import topics

    for _, text in sorted(topics.items()):
        yield from text.split("\n\n")
    for file in _sources(Path(sysconfig.get_path("stdlib"))):
        for docstring in _docstrings(file):
            yield from inspect.cleandoc(docstring).split("\n\n")


def _sources(root: Path) -> Iterator[Path]:
    """The modules of the standard library below ``root``, without tests and what else is installed there."""
    for entry in sorted(root.iterdir()) if root.is_dir() else ():
        if entry.stem in sys.stdlib_module_names:
            files = sorted(entry.rglob("*.py")) if entry.is_dir() else [entry]
            yield from (f for f in files if f.suffix == ".py" and _SKIPPED.isdisjoint(f.relative_to(root).parts))


def _docstrings(file: Path) -> Iterator[str]:
    """The docstrings of one source file, outermost first; none where it cannot be parsed."""
    try:
        pending: list[ast.AST] = [ast.parse(file.read_bytes())]
    except (SyntaxError, ValueError):
        return
    while pending:
        node = pending.pop()
        if isinstance(node, _Documented) and (docstring := ast.get_docstring(node, clean=False)):
            yield docstring
        # Definitions hide in `if` and `try` too, but never in an expression.
        inside = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.excepthandler)]
        pending.extend(reversed(inside))


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
