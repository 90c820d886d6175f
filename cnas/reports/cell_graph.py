"""The cell as a graph: nodes from top to bottom, an arrow for every reading, named after its operation.

The name of an arrow is placed so that it covers no other arrow, no node and no other name; lengths there are in points,
1/72 of an inch, and y grows upwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
from matplotlib.axes import Axes
from matplotlib.bezier import BezierSegment
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.transforms import Bbox

from cnas.reports.drawing import INK, MUTED, PAPER, SERIES, WIDTH, Drawing, finish
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

Point = tuple[float, float]
Places = dict[int, Point]

SIZE = 8.0
"""Of the letters."""
GAP = 4.0
"""Between an arrow and its name."""
_FARTHEST = 16.0
_AIR = 2.5
_LETTER = 0.62 * SIZE
_NODE = 10.0
"""Half the side of the square that a node covers."""
_STEPS = 24
_ALONG = (0.6, 0.5, 0.4, 0.7, 0.3, 0.75, 0.25)
"""Positions along an arrow at which its name may be, the best first."""


def reads(space: SearchSpace, architecture: Architecture) -> list[tuple[int, int, int]]:
    """(source, operation, target) of every decision: node ``target`` reads node ``source`` through that operation.

    Example:
        >>> from cnas.spaces import EnasRnnSpace
        >>> space = EnasRnnSpace(nodes=2)
        >>> reads(space, space.parse("0 0 1 3"))
        [(0, 0, 1), (1, 3, 2)]
    """
    return [
        (decision.sources[decision.edges.index(edge)], operation, decision.target)
        for decision, (edge, operation) in zip(space.decisions(), architecture.choices, strict=True)
    ]


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
    for source, operation, target in reads(space, architecture):
        graph.add_edge(source, target, operation=space.operations[operation], series=operation)
    return graph


def places(graph: nx.DiGraph) -> Places:
    """(x, y) of every node: y is minus its longest path from the input, x the middle of the nodes that read it.

    Where all nodes would stand in one column and arrows lead past some of them, the inner ones step aside by turns.

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
    if not any(xs.values()) and any(depth[source] - depth[target] > 1 for source, target in graph.edges):
        last = min(depth.values())
        xs = {node: 1.0 if level in (0, last) else 2.0 * (level % 2 == 0) for node, level in depth.items()}
    return {node: (xs[node], float(depth[node])) for node in sorted(graph)}


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
    _arrows(axes, graph, where)
    for node, place in where.items():
        _circle(axes, place, str(node) if node else "input")
    edges = sorted((b, a, op) for a, b, op in graph.edges(data="operation"))
    words = ", ".join(f"node {b} = {op} of {f'node {a}' if a else 'the input'}" for b, a, op in edges)
    caption = "Arrows have the name of the operation."
    if space.outputs:
        caption += f" The output is the mean of the nodes {', '.join(map(str, space.outputs))}."
    return finish(figure, "cell", "The cell", f"A graph of {len(graph)} nodes: {words}.", caption)


def _arrows(axes: Axes, graph: nx.DiGraph, where: Places) -> None:
    """All arrows with their names."""
    inch = axes.figure.dpi
    points = {node: tuple(axes.transData.transform(place) * 72 / inch) for node, place in where.items()}
    arrows = [
        Arrow(points[source], points[target], _bend(where, source, target), str(operation))
        for source, target, operation in graph.edges(data="operation")
    ]
    labels = place_labels(arrows, list(points.values()), WIDTH * 72)
    # The ground behind the letters keeps them apart from an arrow that crosses.
    ground = {"boxstyle": "square,pad=0.06", "facecolor": PAPER, "edgecolor": "none"}
    form: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 8, "shrinkA": 9, "shrinkB": 9, "linewidth": 1.5}
    for (source, target, series), arrow, label in zip(graph.edges(data="series"), arrows, labels, strict=True):
        colour, side = SERIES[series % len(SERIES)], "right" if label.left else "left"
        bent = f"arc3,rad={arrow.bend}"
        axes.add_patch(FancyArrowPatch(where[source], where[target], connectionstyle=bent, color=colour, **form))
        words: dict[str, Any] = {"ha": side, "va": "center", "fontsize": SIZE, "bbox": ground, "color": colour}
        axes.annotate(arrow.name, (label.x, label.y), xycoords="figure points", **words)


def _bend(where: Places, source: int, target: int) -> float:
    """How far an arrow swings out: only where a node is in its way."""
    (x0, y0), (x1, y1) = where[source], where[target]
    between = [(x, (y - y0) / (y1 - y0)) for x, y in where.values() if y1 < y < y0]
    return 0.28 if any(abs(x0 + share * (x1 - x0) - x) < 0.25 for x, share in between) else 0.0


def _circle(axes: Axes, place: Point, label: str) -> None:
    shape = "round,pad=0.32" if len(label) > 2 else "circle,pad=0.32"
    box = {"boxstyle": shape, "facecolor": PAPER, "edgecolor": MUTED, "linewidth": 1.1}
    axes.text(*place, label, ha="center", va="center", fontsize=8.5, color=INK, bbox=box)


@dataclass(frozen=True)
class Arrow:
    """An arrow between two nodes.

    Args:
        start: the middle of the node it comes from.
        end: the middle of the node it leads to.
        bend: 0 for a straight one; otherwise the ``rad`` of matplotlib's ``arc3``.
        name: the words beside it.
    """

    start: Point
    end: Point
    bend: float
    name: str

    def at(self, share: float) -> Point:
        """The point at this share of the way: ``arc3`` is a quadratic curve whose middle is pulled aside."""
        (x0, y0), (x1, y1) = self.start, self.end
        pull = ((x0 + x1) / 2 + self.bend * (y1 - y0), (y0 + y1) / 2 - self.bend * (x1 - x0))
        x, y = BezierSegment([self.start, pull, self.end])(share)
        return float(x), float(y)


@dataclass(frozen=True)
class Label:
    """A name with its place.

    Args:
        x: its edge at the arrow.
        y: its middle.
        width: of the words.
        left: whether it stands left of its arrow, so that ``x`` is its right edge.
    """

    x: float
    y: float
    width: float
    left: bool

    @property
    def box(self) -> Bbox:
        """What it covers, with some air: the letters of a reader's font may be wider."""
        left = self.x - self.width if self.left else self.x
        return Bbox.from_bounds(left, self.y, self.width, 0).padded(_AIR, 0.6 * SIZE)


def place_labels(arrows: Sequence[Arrow], nodes: Sequence[Point], width: float) -> list[Label]:
    """A place for the name of every arrow, in their order; each takes the best that those before it have left.

    Args:
        arrows: all arrows of the picture.
        nodes: the middles of its nodes.
        width: of the picture.

    Example:
        >>> down = Arrow((50.0, 40.0), (50.0, 0.0), 0.0, "tanh")
        >>> place_labels([down], [down.start, down.end], 100.0)
        [Label(x=54.0, y=16.0, width=19.84, left=False)]
    """
    placed: list[Label] = []
    for arrow in arrows:
        lines = [other.at(step / _STEPS) for other in arrows for step in range(_STEPS + 1)]
        placed.append(min(_candidates(arrow), key=lambda label: _cost(label, lines, nodes, placed, width)))
    return placed


def _candidates(arrow: Arrow) -> Iterator[Label]:
    # First outside of what branches off: left of an arrow to the left.
    outside = arrow.end[0] < arrow.start[0] or bool(arrow.bend)
    across, down = (abs(end - start) for start, end in zip(arrow.start, arrow.end, strict=True))
    # The flatter the arrow, the farther away are letters of some height that do not touch it.
    gap = GAP + min(0.6 * SIZE * across / max(down, 1.0), _FARTHEST)
    for share in _ALONG:
        x, y = arrow.at(share)
        for left in (outside, not outside):
            yield Label(x - gap if left else x + gap, y, len(arrow.name) * _LETTER, left)


def _cost(label: Label, lines: Sequence[Point], nodes: Sequence[Point], placed: Sequence[Label], width: float) -> float:
    """How much a name would cover; what the picture's edges would cut off is worst."""
    box = label.box
    squares = [Bbox.from_bounds(x, y, 0, 0).padded(_NODE) for x, y in nodes]
    covered = box.count_overlaps([*squares, *(each.box for each in placed)])
    return box.count_contains(lines) + 50 * covered + 500 * (box.x0 < 0 or box.x1 > width)
