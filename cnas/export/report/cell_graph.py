"""The cell as a graph: nodes from top to bottom, an arrow for every reading, named after its operation."""

from __future__ import annotations

from typing import Any

import networkx as nx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from cnas.export.report._drawing import INK, MUTED, PAPER, SERIES, WIDTH, Drawing, finish
from cnas.export.report.record import RunRecord
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

Places = dict[int, tuple[float, float]]


def cell_graph(space: SearchSpace, architecture: Architecture) -> nx.DiGraph:
    """Nodes by number (0 is the input), and an edge with its ``operation`` for every reading.

    Example:
        >>> from cnas.spaces import EnasRnnSpace
        >>> space = EnasRnnSpace(nodes=2)
        >>> cell_graph(space, space.parse("0 0 1 3")).edges(data="operation")
        OutEdgeDataView([(0, 1, 'tanh'), (1, 2, 'identity')])
    """
    graph = nx.DiGraph()
    graph.add_node(0)
    for decision, (edge, operation) in zip(space.decisions(), architecture.choices, strict=True):
        source = decision.sources[decision.edges.index(edge)]
        graph.add_edge(source, decision.target, operation=space.operations[operation], series=operation)
    return graph


def places(graph: nx.DiGraph) -> Places:
    """(x, y) of every node: y is minus its longest way from the input; a node stands above the middle of its readers.

    Example:
        >>> places(nx.DiGraph([(0, 1), (0, 2), (2, 3)]))
        {0: (0.5, 0.0), 1: (0.0, -1.0), 2: (1.0, -1.0), 3: (1.0, -2.0)}
    """
    depth = {node: -level for level, nodes in enumerate(nx.topological_generations(graph)) for node in nodes}
    # Each node hangs on the deepest of those it reads: a tree, in which no two arrows cross.
    tree = nx.DiGraph()
    tree.add_nodes_from(graph)
    for node in graph:
        if sources := list(graph.predecessors(node)):
            tree.add_edge(min(sources, key=lambda source: (depth[source], source)), node)
    xs: dict[int, float] = {}
    leaves = 0
    for node in nx.dfs_postorder_nodes(tree):
        below = [xs[child] for child in tree.successors(node)]
        xs[node] = (below[0] + below[-1]) / 2 if below else float(leaves)
        leaves += not below
    return {node: (xs[node], float(depth[node])) for node in sorted(graph)}


def draw_cell_graph(record: RunRecord) -> Drawing | None:
    """The cell that was found or given; None where there is none yet."""
    if record.space is None or record.architecture is None:
        return None
    return draw_architecture(record.space, record.architecture)


def draw_architecture(space: SearchSpace, architecture: Architecture) -> Drawing:
    """One cell of a space."""
    graph = cell_graph(space, architecture)
    where = places(graph)
    depth, breadth = -min(y for _, y in where.values()), max(x for x, _ in where.values())
    figure = Figure(figsize=(WIDTH, 0.4 + 0.55 * max(depth, 1)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    # A lonely chain stands in the middle, and its labels have room.
    axes.set_xlim(-0.75, max(breadth, 1e-9) + 0.75)
    axes.set_ylim(-depth - 0.4, 0.4)
    for source, target, reading in graph.edges(data=True):
        _arrow(axes, where[source], where[target], reading)
    for node, place in where.items():
        _circle(axes, place, str(node) if node else "input")
    words = ", ".join(f"node {b} = {op} of {f'node {a}' if a else 'the input'}" for a, b, op in _sorted(graph))
    return finish(
        figure,
        "cell",
        "The cell",
        f"A graph of {len(graph)} nodes: {words}.",
        f"Arrows carry the name of the operation.{_output(space)}",
    )


def _output(space: SearchSpace) -> str:
    """What the cell puts out, where the space says it."""
    return f" The output is the mean of the nodes {', '.join(map(str, space.outputs))}." if space.outputs else ""


def _sorted(graph: nx.DiGraph) -> list[tuple[int, int, str]]:
    return sorted(graph.edges(data="operation"), key=lambda edge: (edge[1], edge[0]))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], reading: dict[str, object]) -> None:
    # An arrow that passes other levels goes round their nodes.
    bend = 0.28 if start[1] - end[1] > 1 else 0.0
    colour = SERIES[int(str(reading["series"])) % len(SERIES)]
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=8,
            connectionstyle=f"arc3,rad={bend}",
            shrinkA=9,
            shrinkB=9,
            color=colour,
            linewidth=1.5,
        )
    )
    # Nearer to the end, where arrows from one node are apart; the middle of a curve lies half of its bend beside.
    x, y = start[0] + 0.7 * (end[0] - start[0]), start[1] + 0.6 * (end[1] - start[1])
    x, y = x + bend * (end[1] - start[1]) / 2, y - bend * (end[0] - start[0]) / 2
    # Outside of what branches off: left of an arrow to the left.
    side, shift = ("right", -4) if end[0] < start[0] or bend else ("left", 4)
    # The ground behind the letters keeps them apart from an arrow that crosses.
    ground = {"boxstyle": "square,pad=0.06", "facecolor": PAPER, "edgecolor": "none"}
    label: dict[str, Any] = {"ha": side, "va": "center", "fontsize": 8, "color": colour, "bbox": ground}
    axes.annotate(str(reading["operation"]), (x, y), xytext=(shift, 1), textcoords="offset points", **label)


def _circle(axes: Axes, place: tuple[float, float], label: str) -> None:
    shape = "round,pad=0.32" if len(label) > 2 else "circle,pad=0.32"
    box = {"boxstyle": shape, "facecolor": PAPER, "edgecolor": MUTED, "linewidth": 1.1}
    axes.text(*place, label, ha="center", va="center", fontsize=8.5, color=INK, bbox=box)
