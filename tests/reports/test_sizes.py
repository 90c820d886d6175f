"""Architectures that are sizes: what card and report show in place of a cell."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnas.reports.drawing import style
from cnas.reports.page import render
from cnas.reports.probes import draw_probes
from cnas.reports.record import RunRecord
from cnas.reports.sizes import cheapest, draw_fronts, has_sizes, limits_of, sizes_table
from cnas.runs.result import ScoredRecord, SearchFigures
from cnas.spaces import EnasRnnSpace, GptSpace

SPACE = GptSpace(width=(32, 64), depth=(1, 2), heads=(1,), mlp=(64, 128), vocab_size=100)
ALL = [str(one) for one in SPACE.all()]
LARGEST = ALL[-1]


def point(text, loss, *, random=False, **more):
    costs = {**SPACE.costs(SPACE.parse(text)), **more}
    return {"architecture": text, "loss": loss, "costs": costs, "random": random}


def figures(points, front=()):
    return SearchFigures.model_validate({"scored": points, "front": [*front]})


SCORED = [point(text, 6.0 - 0.1 * place, random=place % 2 == 0) for place, text in enumerate(ALL)]


def record(search, string=ALL[3], rows=(), limit=None):
    config = {"space": {"name": "gpt", "width": [32, 64], "depth": [1, 2], "heads": [1], "mlp": [64, 128]}}
    config |= {"search": {"name": "rsps", "limit": limit}}
    return RunRecord(Path("here"), config, [*rows], {"string": string, "search": search})


def letters(drawing):
    return [node.text for node in ElementTree.fromstring(drawing.svg).iter() if node.tag.endswith("text") and node.text]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_the_line_is_what_nothing_beats_in_loss_and_one_cost(pairs):
    points = [
        ScoredRecord(architecture=str(place), loss=float(loss), costs={"miles": cost})
        for place, (cost, loss) in enumerate(pairs)
    ]
    found = {(each.costs["miles"], each.loss) for each in cheapest(points, "miles")}

    def beaten(one):
        return any(other != one and other[0] <= one[0] and other[1] <= one[1] for other in pairs)

    assert found == {one for one in pairs if not beaten(one)}
    losses = [each.loss for each in cheapest(points, "miles")]
    assert losses == sorted(losses)


def test_what_has_sizes():
    assert has_sizes(SPACE)
    assert not has_sizes(EnasRnnSpace())


def test_the_table_has_the_chosen_one_the_front_and_both_ends():
    table = sizes_table(SPACE, ALL[3], {}, figures([*SCORED[:3], point(ALL[3], 9.0), *SCORED[4:]]))
    assert table.columns == ("Architecture", "", "width", "depth", "heads", "mlp", "parameters", "flops", "loss")
    rows = {row[0]: row for row in table.rows}
    assert table.rows[0][:6] == (ALL[3], "chosen", "32", "2", "1", "128")
    assert rows[ALL[0]][1] == "front, smallest"
    assert rows[LARGEST][1:] == ("front, largest", "64", "2", "1", "128", "72,256", "143,872", "5.3000")
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_given_architecture_has_its_costs_and_no_loss():
    table = sizes_table(SPACE, ALL[0], {"parameters": 7.0}, None)
    assert table.columns[-1] == "parameters"
    assert table.rows == ((ALL[0], "given", "32", "1", "1", "64", "7.0000"),)


def test_a_long_front_is_thinned_and_a_measured_cost_is_a_column():
    space = GptSpace(vocab_size=100)
    points = [
        {"architecture": str(one), "loss": 9.0 - place / 100, "costs": {"latency_ms": 1 + place / 8}}
        for place, one in enumerate(space.all())
    ]
    table = sizes_table(space, "", {}, figures(points))
    assert table.columns[-2:] == ("latency ms", "loss")
    assert len(table.rows) == 10
    assert (table.rows[0][1], table.rows[-1][1]) == ("front, largest", "front, smallest")


def test_loss_is_drawn_against_the_first_cost_and_those_that_counted():
    scored = [{**each, "costs": {**each["costs"], "latency_ms": 0.5 + place}} for place, each in enumerate(SCORED)]
    with style():
        (plain,) = draw_fronts(ALL[3], figures(scored), {})
        both = draw_fronts(
            "", figures(scored, [{"architecture": LARGEST, "loss": 1.0, "costs": {"latency_ms": 1.0}}]), {}
        )
        (_, limit) = draw_fronts(ALL[3], figures(scored), {"latency_ms": 3.0})
    assert [each.name for each in both] == ["front", "front_2"]
    assert {"scored", "random", "front", "chosen", "largest", "parameters"} <= set(letters(plain))
    assert "chosen" not in letters(both[0])
    assert {"latency ms", "limit"} <= set(letters(limit))
    assert "limit" not in letters(plain)
    assert f"front goes from {ALL[0]} (" in plain.alternative
    assert f"to {LARGEST} (" in plain.alternative
    assert f"{ALL[3]} is the chosen one" in plain.alternative
    assert "4 random architectures have a median of 5.7000" in plain.caption


def test_nothing_scored_nothing_drawn():
    assert draw_fronts(ALL[0], None, {}) == draw_fronts(ALL[0], figures([]), {}) == []
    assert draw_fronts(ALL[0], figures([{"architecture": ALL[0], "loss": 1.0, "costs": {}}]), {}) == []


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, {}), ("parameters<=5", {"parameters": 5.0}), ("whatever", {}), (3, {})]
)
def test_a_limit_of_another_version_is_no_line(limit, expected):
    assert limits_of({"limit": limit}) == expected
    assert limits_of({}) == {}


def test_the_name_of_a_cost_is_no_path():
    scored = [point(text, 1.0, **{"../up": 2.0}) for text in ALL]
    with style():
        names = [each.name for each in draw_fronts("", figures(scored), {"../up": 3.0})]
    assert names == ["front", "front_2"]


def test_a_page_shows_the_sizes_and_never_says_cell():
    rows = [{"phase": "search", "epoch": 1 + place, "probe_architecture": ALL[place]} for place in range(3)]
    rows += [{"phase": "retrain", "epoch": 1, "valid_perplexity": 9.0}]
    page = render([record({"scored": SCORED}, rows=rows, limit="parameters<=5e4")], [None])
    assert [name for name, _ in page.drawings] == ["retrain_curve", "front", "probes"]
    text = re.sub(r"<style>.*?</style>", "", page.html, flags=re.DOTALL)
    assert not re.findall(r"\bcells?\b", re.sub(r'id="[^"]*"|href="[^"]*"|aria-labelledby="[^"]*"', "", text), re.I)
    assert "<span>Architecture</span>" in text
    assert f'<th scope="row">{ALL[3]}</th>' in text
    drawn = letters(page.drawings[-1][1])
    assert {"width", "depth", "heads", "mlp", "32", "128"} <= set(drawn)
    assert not [word for word in drawn if "width 32" in word]


def test_a_front_without_a_choice_is_a_page_too():
    page = render([record({"scored": SCORED}, string=None)], [None])
    assert [name for name, _ in page.drawings] == ["front"]
    assert "chosen" not in page.html


def test_a_policy_that_always_proposes_the_smallest_is_not_drawn():
    rows = [{"phase": "search", "epoch": epoch, "probe_architecture": ALL[0]} for epoch in (1, 2)]
    assert draw_probes(record({"scored": SCORED}, rows=rows)) is None
