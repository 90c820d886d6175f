import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import ConnectionStyle

from cnas.reports import cell_graph
from cnas.reports.cell_graph import Arrow, place_labels
from cnas.reports.drawing import WIDTH, style
from cnas.spaces import EnasRnnSpace, NatsSpace

POINT = st.tuples(st.floats(0, 300), st.floats(0, 300))
CELLS = [
    (NatsSpace(), "|nor_conv_1x1~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|none~0|nor_conv_3x3~1|none~2|"),
    (NatsSpace(), "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|avg_pool_3x3~2|"),
    (EnasRnnSpace(), "0 3 1 0 2 1 3 3 4 0 5 1 6 3 7 0"),
    (EnasRnnSpace(), "0 0 0 1 1 2 1 2 1 0 0 0 1 1 6 3"),
]


@settings(derandomize=True, deadline=None, max_examples=30)
@given(POINT, POINT, st.floats(-1, 1))
def test_an_arrow_is_the_curve_that_matplotlib_draws(start, end, bend):
    _, middle, _ = ConnectionStyle.Arc3(rad=bend)(start, end, shrinkA=0, shrinkB=0).vertices
    arrow = Arrow(start, end, bend, "")
    assert arrow.at(0) == start
    assert arrow.at(1) == end
    halfway = [(begin + 2 * pull + end) / 4 for begin, pull, end in zip(start, middle, end, strict=True)]
    assert arrow.at(0.5) == pytest.approx(halfway, abs=1e-6)


@pytest.fixture
def drawn(monkeypatch):
    """Draws a cell; returns its arrows, its nodes and the labels that were placed."""
    seen = []

    def place(arrows, nodes, width):
        seen.append((arrows, nodes, place_labels(arrows, nodes, width)))
        return seen[-1][-1]

    monkeypatch.setattr(cell_graph, "place_labels", place)

    def draw(space, notation):
        with style():
            cell_graph.draw_architecture(space, space.parse(notation))
        return seen.pop()

    return draw


def apart(one, other):
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@pytest.mark.parametrize(("space", "notation"), CELLS)
def test_names_cover_neither_each_other_nor_a_node_and_are_not_cut_off(drawn, space, notation):
    _, nodes, labels = drawn(space, notation)
    boxes = [label.box.extents for label in labels]
    assert all(left >= 0 and right <= 72 * WIDTH for left, _, right, _ in boxes)
    assert all(apart(one, other) for one, other in itertools.combinations(boxes, 2))
    assert all(apart(box, (x - 8, y - 8, x + 8, y + 8)) for box in boxes for x, y in nodes)


@pytest.mark.parametrize(("space", "notation"), CELLS)
def test_a_name_stands_beside_its_own_arrow(drawn, space, notation):
    arrows, _, labels = drawn(space, notation)
    for arrow, label in zip(arrows, labels, strict=True):
        ways = [arrow.at(step / 50) for step in range(51)]
        assert min(abs(x - label.x) + abs(y - label.y) for x, y in ways) < 21
