"""What a routing runs in one cell, sorted by the node it starts from.

What cannot matter is left out: edges from a node that nothing reaches, and edges to one from which no path leads on.

Legend: E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from cnas.spaces.nats.topology import (
    CONV_1X1,
    CONV_3X3,
    EDGES,
    NONE,
    OPERATIONS,
    OUTPUT,
    POOL,
    SKIP,
    leading_to_output,
    reached_from,
)
from cnas.types import Choice


@dataclass(frozen=True)
class Fan:
    """Everything that starts from one node.

    Args:
        edges: the edges on which something is run, ascending.
        targets: the node each of ``edges`` leads to.
        run: per operation, on which of ``edges`` (by position) it is run.
    """

    edges: tuple[int, ...]
    targets: tuple[int, ...]
    run: tuple[tuple[int, ...], ...]

    @property
    def kernels(self) -> tuple[Choice, ...]:
        """The pairs whose convolutions are run, by size, then by edge."""
        return tuple((self.edges[place], size) for size in (CONV_1X1, CONV_3X3) for place in self.run[size])

    @property
    def pairs(self) -> tuple[Choice, ...]:
        """All that is run."""
        return tuple((edge, operation) for place, edge in enumerate(self.edges) for operation in self.operations(place))

    def operations(self, place: int) -> list[int]:
        """What is run on one of ``edges``, given by position, in the order that adds up fastest."""
        order = (CONV_3X3, CONV_1X1, SKIP, POOL)
        return [operation for operation in order if place in self.run[operation]]


@dataclass(frozen=True)
class Plan:
    """What runs in one cell.

    Args:
        fans: per node before the output, what starts from it; None where nothing does.
        idle: per node, the pairs on edges into it that are not run though their weights carry a gradient.
    """

    fans: tuple[Fan | None, ...]
    idle: tuple[tuple[Choice, ...], ...]

    @property
    def kernels(self) -> tuple[Choice, ...]:
        """The pairs whose convolutions are run: fan by fan, in a fan by size, then by edge."""
        fans = [fan for fan in self.fans if fan is not None]
        return tuple(pair for fan in fans for pair in fan.kernels)


@lru_cache(maxsize=4096)
def plan_cell(active: tuple[Choice, ...], graph: bool) -> Plan:
    """Sort the active pairs of one cell.

    Args:
        active: (edge, operation) pairs.
        graph: whether the routing's weights carry a gradient, also to what is not run.
    """
    runs = [tuple(operation for operation in range(len(OPERATIONS)) if (e, operation) in active) for e in range(6)]
    waiting = [[pair for pair in _pairs(e) if graph and pair not in active] for e in range(6)]
    open_edges = {edge for edge, operations in enumerate(runs) if set(operations) - {NONE}}
    onward = leading_to_output(open_edges)
    # A node that nothing reaches is zero; where idle weights lead into it, it hands their gradient on all the same.
    begun = {0} | {target for edge, (target, _) in enumerate(EDGES) if waiting[edge]}
    reached = frozenset().union(*(reached_from(node, open_edges) for node in begun))
    kept = {edge for edge in open_edges if EDGES[edge][1] in reached and EDGES[edge][0] in onward}
    return Plan(
        fans=tuple(_fan(node, runs, kept) for node in range(OUTPUT)),
        idle=tuple(_idle(node, waiting) if node in onward else () for node in range(OUTPUT + 1)),
    )


def _pairs(edge: int) -> list[Choice]:
    return [(edge, operation) for operation in range(len(OPERATIONS))]


def _fan(source: int, runs: list[tuple[int, ...]], kept: set[int]) -> Fan | None:
    return join_fan((edge, operation) for edge in kept if EDGES[edge][1] == source for operation in runs[edge])


def join_fan(pairs: Iterable[Choice]) -> Fan | None:
    """The fan that runs ``pairs``, all of which start from one node; None where there are none."""
    wanted = set(pairs)
    edges = tuple(sorted({edge for edge, _ in wanted}))
    run = tuple(
        tuple(place for place, edge in enumerate(edges) if (edge, operation) in wanted)
        for operation in range(len(OPERATIONS))
    )
    return Fan(edges, tuple(EDGES[edge][0] for edge in edges), run) if edges else None


def _idle(node: int, waiting: list[list[Choice]]) -> tuple[Choice, ...]:
    return tuple(pair for edge, (target, _) in enumerate(EDGES) if target == node for pair in waiting[edge])
