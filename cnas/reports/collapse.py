"""Whether the search has collapsed onto operations that do no work of their own.

Weight sharing favours operations that are trained at once because they have nothing to train (skip connections above
all; Zela et al. 2020, https://arxiv.org/abs/1909.09656).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cnas.reports.cell_graph import reads
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

IDLE = {
    "none": "lets nothing through",
    "identity": "adds no non-linearity",
    "skip": "passes its input on as it is",
    "skip_connect": "passes its input on as it is",
}
"""Operations without a function of their own, and what they do instead."""


@dataclass(frozen=True)
class Collapse:
    """How often a cell uses each operation, and the signs that the search has collapsed.

    Args:
        counts: (operation, how often the cell uses it) of every operation of the space, in its order.
        total: how many were chosen.
        alarms: sentences, one per sign of a collapse; empty where there is none.
    """

    counts: tuple[tuple[str, int], ...]
    total: int
    alarms: tuple[str, ...]


def assess(space: SearchSpace, architecture: Architecture) -> Collapse:
    """Count the operations of a cell and find the signs of a collapse.

    Example:
        >>> from cnas.spaces import EnasRnnSpace
        >>> space = EnasRnnSpace(nodes=2)
        >>> assess(space, space.parse("0 3 1 3")).alarms
        ('All 2 operations are identity, which adds no non-linearity: the cell does no work of its own.',)
        >>> assess(space, space.parse("0 0 1 3")).alarms
        ()
    """
    used = [space.operations[operation] for _, operation in architecture.choices]
    counts = Counter(used)
    ordered = tuple((operation, counts[operation]) for operation in space.operations)
    alarms = [*_majority(used), *_empty(space, architecture), *_shallow(space, architecture)]
    return Collapse(ordered, len(used), tuple(alarms))


def _majority(used: Sequence[str]) -> list[str]:
    idle = [operation for operation in used if operation in IDLE]
    if not idle:
        return []
    names = sorted(set(idle))
    what = " and ".join(f"{operation}, which {IDLE[operation]}" for operation in names)
    if len(idle) == len(used):
        return [f"All {len(used)} operations are {what}: the cell does no work of its own."]
    if 2 * len(idle) > len(used):
        return [f"{len(idle)} of {len(used)} operations are {what}: most of the cell does no work of its own."]
    return []


def _empty(space: SearchSpace, architecture: Architecture) -> list[str]:
    if space.is_connected(architecture):
        return []
    return ["No path leads from the input to the output: the network cannot see its data."]


def _shallow(space: SearchSpace, architecture: Architecture) -> list[str]:
    free = [decision for decision in space.decisions() if len(decision.sources) > 1]
    if len(free) >= 3 and not any(source for source, _, _ in reads(space, architecture)):
        return ["Every node reads the input alone: the cell is as shallow as it can be."]
    return []
