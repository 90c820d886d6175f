"""Whether the search has collapsed onto operations that do no work of their own.

Weight sharing favours operations that are trained at once because they have nothing to train (skip connections above
all; Zela et al. 2020, https://arxiv.org/abs/1909.09656).
"""

from __future__ import annotations

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


def alarms(space: SearchSpace, architecture: Architecture) -> list[str]:
    """The signs that the search has collapsed, a sentence each.

    Example:
        >>> from cnas.spaces import EnasRnnSpace
        >>> space = EnasRnnSpace(nodes=2)
        >>> alarms(space, space.parse("0 3 1 3"))
        ['All 2 operations are identity, which adds no non-linearity: the cell does no work of its own.']
        >>> alarms(space, space.parse("0 0 1 3"))
        []
    """
    read = reads(space, architecture)
    used = [space.operations[operation] for _, operation, _ in read]
    idle = [operation for operation in used if operation in IDLE]
    what = " and ".join(f"{operation}, which {IDLE[operation]}" for operation in sorted(set(idle)))
    found = []
    if len(idle) == len(used):
        found.append(f"All {len(used)} operations are {what}: the cell does no work of its own.")
    elif 2 * len(idle) > len(used):
        found.append(f"{len(idle)} of {len(used)} operations are {what}: most of the cell does no work of its own.")
    if not space.is_connected(architecture):
        found.append("No path leads from the input to the output: the network cannot see its data.")
    free = sum(len(decision.sources) > 1 for decision in space.decisions())
    if free >= 3 and not any(source for source, _, _ in read):
        found.append("Every node reads the input alone: the cell is as shallow as it can be.")
    return found
