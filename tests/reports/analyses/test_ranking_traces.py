import itertools
import json
import math
import random
from dataclasses import replace

import pytest
from run_folders import FOUND, png_size, write_run

from cnas.errors import UserError
from cnas.reports.analyses import draw_ranking_traces, ranking_traces, save
from cnas.spaces.nats.space import read, write

OTHER = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def table(seed):
    """Weights [E][O] of a policy that is sure of nothing."""
    draw = random.Random(seed)
    rows = [[draw.random() for _ in range(5)] for _ in range(6)]
    return [[weight / sum(row) for weight in row] for row in rows]


def by_enumeration(weights, text):
    """Counts every architecture of a larger product."""
    mine = math.prod(row[pick] for row, pick in zip(weights, read(text), strict=True))
    products = (
        math.prod(row[pick] for row, pick in zip(weights, picks, strict=True))
        for picks in itertools.product(range(5), repeat=6)
    )
    return 1 + sum(product > mine * (1 + 1e-12) for product in products)


def test_ranks_are_those_of_counting_all_architectures(tmp_path):
    tables = [table(1), table(2)]
    run = write_run(tmp_path / "run", [{"epoch": epoch, "alphas": each} for epoch, each in enumerate(tables, 3)])
    traces = ranking_traces(run, [FOUND, OTHER])
    assert (traces.epochs, traces.size) == ((3, 4), 15_625)
    assert traces.ranks == {text: tuple(by_enumeration(each, text) for each in tables) for text in (FOUND, OTHER)}


def test_the_best_is_first_and_the_worst_last(tmp_path):
    weights = table(3)
    best = write([row.index(max(row)) for row in weights])
    worst = write([row.index(min(row)) for row in weights])
    run = write_run(tmp_path / "run", [{"epoch": 1, "alphas": weights}])
    assert ranking_traces(run, [best, worst]).ranks == {best: (1,), worst: (15_625,)}


def test_equal_products_share_a_rank_and_weights_of_zero_come_last(tmp_path):
    uniform = [[0.2] * 5] * 6
    run = write_run(tmp_path / "run", [{"epoch": 1, "alphas": uniform}])
    assert ranking_traces(run, [FOUND, OTHER]).ranks == {FOUND: (1,), OTHER: (1,)}
    sure = [[float(place == pick) for place in range(5)] for pick in read(FOUND)]
    run = write_run(tmp_path / "sure", [{"epoch": 1, "alphas": sure}])
    # All six decisions of the other one have probability zero but two that both leave out.
    assert ranking_traces(run, [FOUND]).ranks == {FOUND: (1,)}
    assert ranking_traces(run, [OTHER]).ranks[OTHER][0] > 1


def test_without_a_choice_the_found_cell_is_traced_and_saved(tmp_path):
    run = write_run(tmp_path / "run", [{"epoch": epoch, "alphas": table(epoch)} for epoch in range(1, 6)])
    traces = ranking_traces(run)
    assert list(traces.ranks) == [FOUND]
    drawing = draw_ranking_traces(traces, labels={FOUND: "found"})
    assert f"found ({FOUND}) from " in drawing.alternative
    numbers, png, svg = save(traces, drawing, tmp_path / "figures")
    assert json.loads(numbers.read_text())["ranks"] == {FOUND: list(traces.ranks[FOUND])}
    assert min(png_size(png)) > 300
    assert ">found</text>" in svg.read_text()


def test_two_searches_are_one_figure(tmp_path):
    runs = [write_run(tmp_path / name, [{"epoch": 1, "alphas": table(1)}]) for name in ("plain", "curriculum")]
    traces = [ranking_traces(run, [FOUND, OTHER]) for run in runs]
    assert [each.run for each in traces] == ["plain", "curriculum"]
    drawing = draw_ranking_traces(*traces, labels={FOUND: "found"})
    names = ["found in plain", "found in curriculum", "architecture 2 in plain", "architecture 2 in curriculum"]
    assert [name for name in names if f">{name}</text>" not in drawing.svg] == []
    numbers, *_ = save(traces, drawing, tmp_path / "figures")
    assert [each["run"] for each in json.loads(numbers.read_text())] == ["plain", "curriculum"]
    for chosen in ([], [*traces, traces[0]], [traces[0], replace(traces[1], size=7)]):
        with pytest.raises(UserError, match="traces must be of one search or two of one space, got"):
            draw_ranking_traces(*chosen)


@pytest.mark.parametrize(
    ("rows", "architectures", "message"),
    [
        ([{"epoch": 1, "train_loss": 2.0}], [FOUND], "no row of its search has alphas"),
        ([{"epoch": 1, "alphas": [[0.2] * 5] * 5}], [FOUND], "no row of its search has alphas"),
        ([{"epoch": 1, "alphas": table(1)}], ["|none~0|"], r"character 9 must be '\+\|'"),
    ],
)
def test_what_cannot_be_traced_is_said(tmp_path, rows, architectures, message):
    with pytest.raises(UserError, match=message):
        ranking_traces(write_run(tmp_path / "run", rows), architectures)


def test_a_search_that_has_found_nothing_yet_needs_architectures(tmp_path):
    run = write_run(tmp_path / "run", [{"epoch": 1, "alphas": table(1)}], finished=False)
    with pytest.raises(UserError, match="has found no architecture yet; name those to trace"):
        ranking_traces(run)
    assert ranking_traces(run, [FOUND]).epochs == (1,)


def test_a_space_too_large_to_rank_is_refused(tmp_path):
    run = write_run(tmp_path / "run", [{"epoch": 1, "alphas": [[0.25] * 4] * 36}])
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"space": {"name": "enas_rnn"}}))
    with pytest.raises(UserError, match="at most 4,194,304 are ranked"):
        ranking_traces(run, [FOUND])
    with pytest.raises(UserError, match="must be a folder that a run has written"):
        ranking_traces(tmp_path / "nowhere")
