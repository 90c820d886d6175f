import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folders import png_size, write_run

from cnas.curricula import traced_units
from cnas.errors import UserError
from cnas.reports.analyses import draw_weight_groups, save, weight_groups

few = settings(derandomize=True, deadline=None, max_examples=40)

# Six units: two that grow, two that stay, two that shrink; the first row is from before the first update.
TRACES = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    [1.2, 1.4, 1.0, 1.1, 0.7, 0.6],
    [0.2, 0.4, 1.0, 1.2, 1.6, 1.6],
]


def rows(traces):
    return [{"epoch": epoch, "weight_traces": weights} for epoch, weights in enumerate(traces, 1)]


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", [*rows(TRACES), {"epoch": 4, "train_loss": 1.0}])


def test_thirds_by_the_first_weights_that_differ(run):
    groups = weight_groups(run)
    assert (groups.epochs, groups.by, groups.units) == ((1, 2, 3), "first", 6)
    assert groups.low == pytest.approx((1.0, 0.65, 1.6))
    assert groups.mid == pytest.approx((1.0, 1.05, 1.1))
    assert groups.high == pytest.approx((1.0, 1.3, 0.3))


def test_thirds_by_the_last_weights(run):
    groups = weight_groups(run, "last")
    assert groups.low == pytest.approx((1.0, 1.3, 0.3))
    assert groups.high == pytest.approx((1.0, 0.65, 1.6))


@few
@given(st.integers(3, 12), st.integers(0, 1000))
def test_groups_are_ordered_where_they_are_made_and_keep_the_mean(tmp_path_factory, units, seed):
    weights = np.random.default_rng(seed).uniform(0.1, 3.0, (3, units))
    run = write_run(tmp_path_factory.mktemp("runs") / "run", rows(weights.tolist()))
    first, last = weight_groups(run), weight_groups(run, "last")
    assert first.low[0] <= first.mid[0] <= first.high[0]
    assert last.low[2] <= last.mid[2] <= last.high[2]
    sizes = [len(third) for third in np.array_split(np.arange(units), 3)]
    for place in range(3):
        mean = np.average([first.low[place], first.mid[place], first.high[place]], weights=sizes)
        assert mean == pytest.approx(weights[place].mean())


def test_it_is_drawn_and_saved(run, tmp_path):
    groups = weight_groups(run)
    drawing = draw_weight_groups(groups)
    assert "high from 1 in epoch 1 to 0.3 in epoch 3" in drawing.alternative
    numbers, png, svg = save(groups, drawing, tmp_path / "figures")
    assert json.loads(numbers.read_text())["units"] == 6
    assert min(png_size(png)) > 300
    assert all(f">{name}</text>" in svg.read_text() for name in ("low", "mid", "high"))


def test_several_searches_have_a_panel_each(run, tmp_path):
    other = write_run(tmp_path / "other", rows([[2 - v for v in row] for row in TRACES]))
    groups = [weight_groups(folder) for folder in (run, other, run)]
    drawing = draw_weight_groups(*groups)
    assert [drawing.svg.count(f">{name}</text>") for name in ("run", "other", "mean weight v", "epoch")] == [2, 1, 2, 2]
    assert "run: high from 1 in epoch 1" in drawing.alternative
    assert "other: high from 1 in epoch 1 to 0.4 in epoch 3" in drawing.alternative
    assert [drawing.svg.count(f">{name}</text>") for name in ("low", "mid", "high")] == [1, 1, 1]
    for wrong in ([], [groups[0], weight_groups(run, "last")]):
        with pytest.raises(UserError, match="groups must be of at least one search, all by first or all by last"):
            draw_weight_groups(*wrong)


@few
@given(st.integers(1, 10_000), st.integers(1, 200))
def test_traced_units_are_different_and_spread(num_units, count):
    units = traced_units(num_units, count)
    assert len(set(units)) == len(units) == min(num_units, count)
    assert units == sorted(units)
    assert units[0] == 0
    assert units[-1] < num_units
    gaps = np.diff([*units, num_units])
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("traces", "by", "message"),
    [
        ([], "first", "no row of its search has weight_traces of 3 units that differ"),
        (TRACES[:1], "first", "no row of its search has weight_traces of 3 units that differ"),
        ([[0.5, 1.5]], "first", "no row of its search has weight_traces of 3 units that differ"),
        ([TRACES[1], TRACES[1][:5]], "first", r"must have the same length in every row, got \[5, 6\]"),
        ([[1.0, None, 2.0]], "first", "must be finite numbers, got null"),
        (TRACES, "middle", "by must be first or last, got 'middle'"),
    ],
)
def test_what_cannot_be_grouped_is_said(tmp_path, traces, by, message):
    with pytest.raises(UserError, match=message):
        weight_groups(write_run(tmp_path / "run", rows(traces)), by)


@pytest.mark.parametrize(("num_units", "count"), [(0, 5), (5, 0)])
def test_numbers_of_units_are_checked(num_units, count):
    with pytest.raises(UserError, match="must be at least 1"):
        traced_units(num_units, count)
