"""Comparisons of image runs: what is measured and looked up of them, which way is better, what is not comparable."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_folders import benchmark_metrics, image_result, trained, write_image_run

from cnas.errors import UserError
from cnas.hub import write_card
from cnas.hub.model_kind import IMAGE_CLASSIFIER, LANGUAGE_MODEL
from cnas.reports.comparison import FinishedRun, against_random, group_runs, incomparable, load_run, load_runs, render
from cnas.reports.comparison.runs import KENDALL_TAU, TEST_ACCURACY, TRAINED, VALID_ACCURACY, Measure, rank
from cnas.reports.record import read_run
from cnas.reports.seeds import compare_records
from cnas.runs.config import RunConfig
from cnas.runs.result import RunResult

FEW = settings(derandomize=True, deadline=None, max_examples=40)
CURRICULUM = RunConfig.from_preset("nats_cl/smoke", "gdas")
PLAIN = replace(CURRICULUM, curriculum=None)
CELLS = [f"|none~0|+|none~0|{each}~1|+|none~0|none~1|nor_conv_3x3~2|" for each in ("none", "skip_connect")]
CELLS += [f"|{each}~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|" for each in ("nor_conv_1x1", "avg_pool_3x3")]


@pytest.fixture
def made(tmp_path):
    """Writes the folder of a searched run."""

    def make(config, seed=1, **changes):
        folder = tmp_path / f"run-{len([*tmp_path.iterdir()])}"
        return write_image_run(folder, config.with_seed(seed), **changes)

    return make


@pytest.fixture
def random_cells(made):
    """Writes a run of a given cell for each accuracy in the table."""

    def make(accuracies, **changes):
        pairs = zip(CELLS, accuracies, strict=False)
        return [made(given_cell(cell), benchmark=benchmark_metrics(value), **changes) for cell, value in pairs]

    return make


def given_cell(cell):
    return replace(PLAIN, architecture=cell)


def compared(folders, random=()):
    return group_runs(load_runs(folders), load_runs(random))


def rows(text, start):
    """The cells of the rows that begin with a text."""
    found = [line.strip("|").split("|") for line in text.split("\n") if line.startswith(f"| {start}")]
    return [[cell.strip() for cell in cells] for cells in found]


def test_every_kind_of_model_has_its_measures():
    assert set(TRAINED) == {kind.metric.name for kind in (LANGUAGE_MODEL, IMAGE_CLASSIFIER)}


def test_a_run_has_what_was_looked_up_and_what_was_measured(made):
    record = benchmark_metrics(93.0, kendall_tau=-0.25, ranked=100, test_accuracies={"cifar10": 93.0, "cifar100": 70.5})
    run = load_run(made(CURRICULUM, benchmark=record, retrain=trained(60.0, 62.5)))
    assert {measure.short: value for measure, value in run.figures.items()} == {
        "valid accuracy": 60.0,
        "test accuracy": 62.5,
        "cifar10, looked up": 93.0,
        "rank on cifar10": 200.0,
        "regret on cifar10": 2.0,
        "Kendall's τ": -0.25,
        "cifar100, looked up": 70.5,
    }
    assert [measure.short for measure in run.primary_measures] == ["test accuracy", "cifar10, looked up"]
    assert (run.result.metric.name, run.result.benchmark.source) == ("accuracy", "tss.parquet")
    assert [measure.higher for measure in run.figures] == [True, True, True, False, False, True, True]


def test_a_run_that_was_looked_up_alone_has_no_training(made):
    run = load_run(made(PLAIN, benchmark=benchmark_metrics(90.0)))
    assert (run.result.retrain, run.result.search.seconds) == (None, 61.0)
    (row,) = rows(render(compared([run.folder])), "gdas")
    assert row == ["gdas on nats, plain", "1", "1", "90.00", "500", "5.00", "61 s"]


def test_a_run_whose_cell_nothing_judges_is_refused(made):
    folder = made(PLAIN)
    with pytest.raises(UserError, match="lacks retrain and benchmark: nothing says what its cell is worth"):
        load_run(folder)


BROKEN = {"dataset": None, "test_accuracy": "93", "source": 3, "rank": -1, "kendall_tau": float("nan")}
BROKEN |= {"test_accuracies": {"cifar10": True}, "regret": []}


@pytest.mark.parametrize("name", BROKEN)
def test_a_look_up_that_is_wrong_is_named(made, name):
    folder = made(PLAIN, benchmark=benchmark_metrics(90.0, **{name: BROKEN[name]}))
    with pytest.raises(UserError, match=rf"result\.json: benchmark\.{name}\S* must be"):
        load_run(folder)


@pytest.mark.parametrize("value", [True, 3, [3], "x"])
@pytest.mark.parametrize("part", ["retrain", "benchmark", "search"])
def test_a_part_that_is_none_is_one_line(made, part, value):
    parts = {"benchmark": benchmark_metrics(90.0), "retrain": None, part: value}
    with pytest.raises(UserError, match=rf"result\.json: {part} must be a valid dictionary, got "):
        load_run(made(PLAIN, **parts))


def test_a_trained_run_needs_accuracies(made):
    folder = made(PLAIN, retrain={"valid_accuracy": 50.0, "seconds": 1.0, "parameters": 10})
    with pytest.raises(UserError, match=r"lacks retrain\.test_accuracy"):
        load_run(folder)


def test_the_curriculum_is_set_beside_its_plain_twin(made):
    found = [made(CURRICULUM, seed, benchmark=benchmark_metrics(value)) for seed, value in ((1, 91.0), (2, 92.0))]
    found[1].joinpath("result.json").unlink()
    found[1] = made(CURRICULUM, 2, benchmark=benchmark_metrics(92.0, kendall_tau=0.5))
    twins = [made(PLAIN, 1, benchmark=benchmark_metrics(90.0, kendall_tau=0.1))]
    twins += [made(PLAIN, 2, benchmark=benchmark_metrics(94.0, kendall_tau=0.25))]
    text = render(compared([*found, *twins]))
    row = next(row for row in rows(text, "gdas") if row[0].endswith("− plain"))
    assert row[1:] == ["1, 2", "-0.50 (s. e. 1.50)", "+50 (s. e. 150)", "+0.50 (s. e. 1.50)", "+0.25 (seeds 2)"]
    higher, lower = "looked-up test accuracy on cifar10, Kendall's τ", "rank on cifar10, regret on cifar10"
    assert f"Above 0 is better for {higher}, below 0 for {lower}." in text
    assert rows(text, "gdas on nats, curriculum")[0][6] == "0.50 (n = 1)"


PLACES = {"ahead": (94.0, 3), "between": (91.0, 1), "level": (86.0, 0), "behind": (80.0, 0)}


@pytest.mark.parametrize("place", PLACES)
def test_more_accuracy_is_better_than_more_random_cells(made, random_cells, place):
    accuracy, expected = PLACES[place]
    groups = compared([made(PLAIN, benchmark=benchmark_metrics(accuracy))], random_cells([86.0, 92.0, 92.0]))
    (verdict,) = against_random(groups)
    assert verdict.better_than == expected
    text = render(groups)
    assert f"{accuracy:.2f} is better than **{expected} of 3** random cells (90.00 ± 3.46, best 92.00)" in text
    assert "looked-up test accuracy on cifar10, higher is better; *best* is best by that figure itself" in text


def test_a_trained_cell_is_judged_by_training_and_by_the_table(made, random_cells):
    lucky = random_cells([94.0], retrain=trained(40.0, 70.0))
    chosen = [made(given_cell(CELLS[1]), benchmark=benchmark_metrics(80.0), retrain=trained(60.0, 50.0))]
    found = made(PLAIN, benchmark=benchmark_metrics(90.0), retrain=trained(10.0, 55.0))
    measured, table = against_random(compared([found], [*lucky, *chosen]))
    assert (measured.measure, measured.best.figures[TEST_ACCURACY]) == (TEST_ACCURACY, 50.0)
    assert measured.better_than == 1
    assert table.best.figures[table.measure] == 94.0
    assert table.better_than == 1


@FEW
@given(st.floats(1, 99), st.lists(st.tuples(st.floats(1, 99), st.floats(1, 99)), min_size=1, max_size=4))
def test_accuracies_are_judged_as_errors_would_be_the_other_way_round(found, cells):
    def verdict(make):
        (judged,) = against_random(group_runs([run(PLAIN, make(50.0, found))], random=random(make)))
        return judged.better_than

    def random(make):
        return [run(given_cell(cell), make(*values)) for cell, values in zip(CELLS, cells, strict=False)]

    def run(config, retrain):
        return FinishedRun(
            Path("somewhere"), config.to_json(), RunResult.from_json(image_result(config, retrain=retrain))
        )

    def errors(valid, test):
        words = {"valid_perplexity": 128 - valid, "test_perplexity": 128 - test}
        return {"seconds": 1.0, "parameters": 5, **words}

    # 128 − x is exact where x has few digits, so that no rounding reverses an order.
    found, cells = round(found), [(round(valid), round(test)) for valid, test in cells]
    assert verdict(trained) == verdict(errors)


@FEW
@given(st.floats(-9, 9), st.floats(-9, 9), st.booleans())
def test_of_two_figures_one_beats_the_other_unless_they_are_equal(left, right, higher):
    measure = Measure("figure", "figure", higher)
    assert measure.beats(left, right) + measure.beats(right, left) == (left != right)
    assert measure.beats(left, right) == replace(measure, higher=not higher).beats(right, left)


def test_runs_of_different_kinds_are_not_comparable(made, finished):
    groups = compared([finished, made(CURRICULUM, benchmark=benchmark_metrics(90.0))])
    (line,) = incomparable(groups)
    assert line == (
        "metric is perplexity (enas on enas_rnn, curriculum, K = 3), accuracy (gdas on nats, curriculum, K = 5)"
    )
    text = render(groups)
    assert "**not comparable:** metric is perplexity" in text
    assert "unequal budget" not in text
    assert {len(row) for row in rows(text, "")} >= {3 + 2 + 3 + 3}


OTHERS = {
    "benchmark_metrics is cifar10 in tss.parquet": {"benchmark": benchmark_metrics(90.0, dataset="cifar100")},
    "benchmark_metrics is cifar10 in tss.parquet (": {"benchmark": benchmark_metrics(90.0, source="other.parquet")},
    "data is ": {
        "dataset": {"name": "digits", "fingerprint": "0" * 16, "used": {}},
        "benchmark": benchmark_metrics(90.0),
    },
}


@pytest.mark.parametrize("line", OTHERS)
def test_other_images_and_other_tables_are_flagged_and_never_averaged(made, line):
    groups = compared([made(PLAIN, benchmark=benchmark_metrics(90.0)), made(PLAIN, 2, **OTHERS[line])])
    assert len(groups) == 2
    assert [each for each in incomparable(groups) if each.startswith(line)]


def test_where_the_table_lies_does_not_part_a_group(made):
    folders = [made(replace(PLAIN, table=f"/{seed}/tss"), seed, benchmark=benchmark_metrics(90.0)) for seed in (1, 2)]
    (group,) = compared(folders)
    assert group.seeds == [1, 2]


def test_random_cells_of_another_table_or_none_are_no_reference(made, random_cells):
    found = made(PLAIN, benchmark=benchmark_metrics(90.0))
    other = made(given_cell(CELLS[0]), benchmark=benchmark_metrics(1.0, source="other.parquet"))
    (verdict,) = against_random(compared([found], [other]))
    assert (verdict.comparable, verdict.better_than) == (False, 0)
    assert "**not comparable:** benchmark_metrics is cifar10 in" in render(compared([found], [other]))


def test_larger_supernets_are_an_unequal_budget(made):
    wider = replace(PLAIN, space=replace(PLAIN.space, channels=16))
    text = render(
        compared([made(PLAIN, benchmark=benchmark_metrics(90.0)), made(wider, benchmark=benchmark_metrics(91.0))])
    )
    assert "**searches of unequal budget:** space.channels is 4 " in text


def test_a_report_sets_image_runs_side_by_side(made):
    folders = [made(CURRICULUM, seed, benchmark=benchmark_metrics(90.0 + seed, kendall_tau=0.1)) for seed in (1, 2)]
    folders += [made(PLAIN, 1, benchmark=benchmark_metrics(93.0))]
    spread, paired = compare_records([read_run(folder) for folder in folders]).tables
    titles = ("Looked-up test accuracy on cifar10", "Rank on cifar10", "Regret on cifar10", "Kendall's τ")
    assert (spread.columns[2:], paired.columns[2:]) == (titles, titles)
    assert spread.rows[0][1:] == ("2", "91.50 ± 0.71", "350 ± 71", "3.50 ± 0.71", "0.10 ± 0.00")
    assert paired.rows[0][1:] == ("1", "−2.00", "+200", "+2.00", "–")


def test_the_card_of_an_image_run_takes_further_seeds(made):
    runs = [made(PLAIN, seed, benchmark=benchmark_metrics(90.0 + seed)) for seed in (1, 2)]
    assert "| rank | 400 | 350.00 ± 70.71 (n = 2) |" in write_card(runs[0], runs[1:]).read_text("utf-8")
    with pytest.raises(UserError, match=r"seeds must differ from .* in the seed alone"):
        write_card(runs[0], [made(CURRICULUM, 3, benchmark=benchmark_metrics(90.0))])


def test_what_is_unknown_of_a_cell_is_no_figure():
    record = benchmark_metrics(90.0, rank=None, regret=None, kendall_tau=None)
    found = FinishedRun(Path("somewhere"), {}, RunResult.from_json(image_result(PLAIN, benchmark=record))).figures
    assert [measure.short for measure in found] == ["cifar10, looked up"]
    assert not {KENDALL_TAU, VALID_ACCURACY, rank("cifar10")} & set(found)
