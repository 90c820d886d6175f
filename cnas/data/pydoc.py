"""The embedded corpus `pydoc`: English prose that every CPython carries with it.

It is the language reference behind ``help()`` (`pydoc_data.topics`) and the docstrings of the standard library, read
from its sources without importing them. It serves demonstrations and tests where no data set can be had. Its text
changes with the Python version, so results go with its fingerprint, and are never comparable with the Penn Treebank.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cnas.data import _prose

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
        fresh = [sentence for sentence in dict.fromkeys(_prose.sentences(paragraph)) if sentence not in seen]
        seen.update(fresh)
        splits[_split(" ".join(fresh))].extend(fresh)
    return {name: tuple(sentences) for name, sentences in splits.items()}


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
