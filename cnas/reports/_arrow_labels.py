"""Where the name of an arrow stands, so that it covers no other arrow, no node and no other name.

All lengths are in points, 1/72 of an inch; y grows upwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Point = tuple[float, float]

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
"""Where on its arrow a name may stand, the best first."""


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
        begin, middle, end = (1 - share) ** 2, 2 * share * (1 - share), share**2
        return begin * x0 + middle * pull[0] + end * x1, begin * y0 + middle * pull[1] + end * y1


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
    def box(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top), with some air: the letters of a reader's font may be wider."""
        left = self.x - self.width if self.left else self.x
        return left - _AIR, self.y - 0.6 * SIZE, left + self.width + _AIR, self.y + 0.6 * SIZE


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
    left, bottom, right, top = label.box
    crossed = sum(left <= x <= right and bottom <= y <= top for x, y in lines)
    squares = [(x - _NODE, y - _NODE, x + _NODE, y + _NODE) for x, y in nodes]
    covered = sum(_overlap(label.box, other) for other in [*squares, *(each.box for each in placed)])
    return crossed + 50 * covered + 500 * (left < 0 or right > width)


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
