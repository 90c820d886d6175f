"""The graph of a NATS cell: its edges, its operations, and which cells are connected.

Node 0 is the input of the cell, node 3 its output; a node is the sum of its edges. Edges are counted by target, then by
source, operations in the order of NATS-Bench (Dong et al. 2021). This file imports nothing, because it belongs beside
weights that must load where `cnas` is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV_1X1, CONV_3X3, POOL = range(5)

OUTPUT = 3
EDGES = tuple((target, source) for target in range(1, OUTPUT + 1) for source in range(target))
"""(target, source) of every edge: 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2."""


def reached_from(start: int, open_edges: Collection[int]) -> frozenset[int]:
    """The nodes to which a path of open edges leads from ``start``, itself included.

    Args:
        start: a node.
        open_edges: indices into `EDGES`.

    Example:
        >>> sorted(reached_from(0, {0, 5}))
        [0, 1]
    """
    found = {start}
    for edge, (target, source) in enumerate(EDGES):
        if source in found and edge in open_edges:
            found.add(target)
    return frozenset(found)


def leading_to_output(open_edges: Collection[int]) -> frozenset[int]:
    """The nodes from which a path of open edges leads to the output, itself included.

    Args:
        open_edges: indices into `EDGES`.
    """
    found = {OUTPUT}
    for edge, (target, source) in reversed(list(enumerate(EDGES))):
        if target in found and edge in open_edges:
            found.add(source)
    return frozenset(found)


def is_connected(operations: Sequence[int]) -> bool:
    """Whether anything of the input reaches the output: some path from node 0 to node 3 has no ``none`` on it.

    341 of the 15,625 cells are not connected; they put out zero whatever they are given.

    Args:
        operations: index into `OPERATIONS`, one per edge.

    Example:
        >>> is_connected([0, 0, 0, 1, 0, 0]), is_connected([1, 1, 1, 0, 0, 0])
        (True, False)
    """
    return OUTPUT in reached_from(0, {edge for edge, operation in enumerate(operations) if operation != NONE})
