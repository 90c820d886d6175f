"""Draws a cell: in text, for terminals and code blocks, and as the picture that the report shows too."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnas.reports.cell_graph import draw_architecture, reads
from cnas.reports.drawing import style
from cnas.reports.sizes import draw_fronts, has_sizes, limits_of
from cnas.runs.result import RunResult
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

WIDTH = 80
_INDENT = "│  "

Read = tuple[int, str, int]
"""(source, operation, target): node ``target`` reads node ``source`` through ``operation``."""


def draw_cell(space: SearchSpace, architecture: Architecture) -> str:
    """The formulas of a cell's nodes and of its output, then a tree of who reads whom; node 0 is the ``input``.

    Nodes that read several others show their sum, and stand under each of them in the tree, unfolded at the first.
    Lines have at most 80 characters. Where every decision has a name, what was decided is listed instead.

    Args:
        space: the space of the architecture.
        architecture: one (edge, operation) pair per decision of ``space``.

    Example:
        >>> from cnas.spaces import EnasRnnSpace
        >>> space = EnasRnnSpace(nodes=3)
        >>> print(draw_cell(space, space.parse("0 0 0 1 2 3")))
        node 1 = tanh(input)
        node 2 = relu(input)
        node 3 = identity(node 2)
        <BLANKLINE>
        input
        ├─ tanh → node 1
        └─ relu → node 2
           └─ identity → node 3
    """
    if has_sizes(space):
        return "\n".join(space.operations[operation] for _, operation in architecture.choices)
    found = [(source, space.operations[operation], target) for source, operation, target in reads(space, architecture)]
    output = _wrapped(f"output = mean of {', '.join(map(_name, space.outputs))}") if space.outputs else []
    return "\n".join([*_formulas(found), *output, "", *_forest(found)])


def save_pictures(space: SearchSpace, result: RunResult, config: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Write the cell as SVG and PNG, or where architectures are sizes, their losses; equal runs give equal files.

    Args:
        space: the space of the architecture.
        result: of the run.
        config: the contents of ``config.json``, which has the limits.
        folder: where they go; made if it is not there.

    Returns:
        By the name of each picture, what it shows in words.

    Raises:
        OSError: the disk refuses.
    """
    notation = result.architecture.string
    with style():
        if has_sizes(space):
            drawings = draw_fronts(notation, result.search, limits_of(config.get("search", {})))
        else:
            drawings = [draw_architecture(space, space.parse(notation))]
    for each in drawings:
        each.save(folder, each.name)
    return {each.name: f"{each.alternative} {each.caption}".strip() for each in drawings}


def _name(node: int) -> str:
    return f"node {node}" if node else "input"


def _formulas(reads: list[Read]) -> list[str]:
    lines = []
    for target in sorted({target for _, _, target in reads}):
        terms = [f"{operation}({_name(source)})" for source, operation, reader in reads if reader == target]
        lines += _wrapped(f"{_name(target)} = {' + '.join(terms)}")
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def _forest(reads: list[Read]) -> list[str]:
    """The tree below the input; branches too deep for the width go on as trees of their own."""
    lines: list[str] = []
    roots, unfolded = [0], {0}
    while roots:
        root = roots.pop(0)
        lines += [*([""] if lines else []), _name(root), *_branches(root, "", reads, unfolded, roots)]
    return lines


def _branches(node: int, prefix: str, reads: list[Read], unfolded: set[int], roots: list[int]) -> list[str]:
    """The lines below ``node``; marks what it unfolds and appends to ``roots`` what does not fit."""
    lines: list[str] = []
    readers = [(operation, target) for source, operation, target in reads if source == node]
    for index, (operation, target) in enumerate(readers):
        last = index == len(readers) - 1
        line = f"{prefix}{'└─ ' if last else '├─ '}{operation} → {_name(target)}"
        below = prefix + ("   " if last else _INDENT)
        again = target in unfolded
        unfolded.add(target)
        if not any(source == target for source, _, _ in reads):
            lines.append(line)
        elif again or _too_deep(below, target, reads):
            lines.append(f"{line} …")
            roots += [] if again else [target]
        else:
            lines += [line, *_branches(target, below, reads, unfolded, roots)]
    return lines


def _too_deep(prefix: str, node: int, reads: list[Read]) -> bool:
    widest = max(len(f"├─ {operation} → {_name(target)} …") for source, operation, target in reads if source == node)
    return len(prefix) + widest > WIDTH
