"""How much code the package has: ``python tests/code_lines.py`` prints a table of its rooms.

A code line is one that is neither blank nor comment nor part of a docstring.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "cnas"
_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(source: str) -> set[int]:
    """Numbers of the code lines of a file, from 1.

    Example:
        >>> sorted(code_lines('# why\\n"A docstring."\\nx = 1\\n\\ny = (2,\\n  3)  # two lines\\n'))
        [3, 5, 6]
    """
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines - {number for node in _docstrings(ast.parse(source)) for number in _range(node)}


def function_lengths(source: str) -> dict[str, int]:
    """Code lines of every function and method, its signature and what is nested in it included, by its dotted name.

    Example:
        >>> function_lengths('class A:\\n  def f(self):\\n    "Says."\\n    return 1\\n')
        {'A.f': 2}
    """
    lines = code_lines(source)
    return {name: len(lines & {*_range(node)}) for name, node in _functions(ast.parse(source))}


def rooms() -> dict[str, dict[Path, int]]:
    """Code lines by room and file; the files beside the rooms are one of their own."""
    found: dict[str, dict[Path, int]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        inner = path.relative_to(PACKAGE)
        found.setdefault(inner.parts[0] if len(inner.parts) > 1 else "cnas", {})[inner] = len(
            code_lines(path.read_text("utf-8"))
        )
    return found


def table() -> str:
    """One line for each room: files, code lines, the longest file; then the total."""
    rows = []
    for room, files in sorted(rooms().items(), key=lambda item: -sum(item[1].values())):
        longest = max(files, key=lambda path: files[path])
        rows.append((room, len(files), sum(files.values()), f"{longest} {files[longest]}"))
    rows.append(("total", sum(row[1] for row in rows), sum(row[2] for row in rows), ""))
    return "\n".join("{:12} {:4} files {:6} lines  {}".format(*row).rstrip() for row in rows)


def _docstrings(tree: ast.AST) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            yield node.body[0]


def _functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.stmt]]:
    for child in ast.iter_child_nodes(node):
        below = prefix
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            below = f"{prefix}{child.name}."
            if not isinstance(child, ast.ClassDef):
                yield below[:-1], child
        yield from _functions(child, below)


def _range(node: ast.stmt) -> range:
    assert node.end_lineno is not None
    return range(node.lineno, node.end_lineno + 1)


if __name__ == "__main__":
    print(table())
