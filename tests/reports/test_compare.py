"""Comparisons of finished runs: grouping, statistics, what may not be compared, the Markdown they become."""

import copy
import json
import re
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.errors import UserError
from cnas.reports.comparison import (
    against_random,
    group_runs,
    incomparable,
    load_run,
    load_runs,
    paired,
    render,
    summarize,
    unequal_searches,
)
from cnas.reports.comparison.runs import TEST_PERPLEXITY

FEW = settings(derandomize=True, deadline=None, max_examples=50)
PERPLEXITIES = st.dictionaries(st.integers(0, 9), st.floats(1, 1e4), min_size=1)


@pytest.fixture
def made(finished, tmp_path):
    """Writes folders that say what the finished run says, but for some fields by their dotted names."""

    def make(name, config=None, **result):
        folder = tmp_path / name
        folder.mkdir()
        for file, changes in (("config.json", config or {}), ("result.json", result)):
            values = json.loads((finished / file).read_text("utf-8"))
            for dotted, value in changes.items():
                put(values, dotted.replace("__", "."), value)
            (folder / file).write_text(json.dumps(values), "utf-8")
        return folder

    return make


def put(values, dotted, value):
    *path, last = dotted.split(".")
    for key in path:
        values = values[key]
    values[last] = copy.deepcopy(value)


def seeds(made, name, tests, config=None, **result):
    """One run per test perplexity, with the seeds 1, 2, …"""
    return [
        made(
            f"{name}-s{seed}",
            {"trainer.seed": seed, **(config or {})},
            seed=seed,
            retrain__test_perplexity=test,
            retrain__valid_perplexity=test + 2,
            **result,
        )
        for seed, test in enumerate(tests, 1)
    ]


PLAIN = {"config": {"curriculum": None}, "curriculum": None}
GIVEN = {
    "config": {"curriculum": None, "architecture": "0 0 0 0"},
    "search": None,
    "algorithm": None,
    "curriculum": None,
}


def cells(made, name, tests, first=0, **changes):
    """Runs of different given cells with one seed."""
    folders = []
    for index, test in enumerate(tests, first):
        result = GIVEN | {"retrain__test_perplexity": test, "retrain__valid_perplexity": test + 2} | changes
        folders.append(made(f"{name}-{index}", architecture__string=f"0 {index} 0 0", **result))
    return folders


def compared(folders, random=()):
    return group_runs(load_runs(folders), load_runs(random))


def test_a_finished_run_is_read(finished):
    run = load_run(finished)
    assert (run.name, run.result.seed, run.result.space, run.searched) == ("finished", 1, "enas_rnn", True)
    assert run.result.curriculum.k == 3
    assert 1 < run.figures[TEST_PERPLEXITY] < 45
    assert run.result.search.seconds > 0
    assert run.result.retrain.parameters > 0


@pytest.mark.parametrize("missing", ["config.json", "result.json"])
def test_an_unfinished_folder_is_named_with_what_it_lacks(made, missing):
    folder = made("half")
    (folder / missing).unlink()
    with pytest.raises(UserError, match=rf"{re.escape(str(folder))} has no {missing}"):
        load_run(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '"text"'])
def test_a_broken_file_is_named(made, text):
    folder = made("broken")
    (folder / "result.json").write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"broken.*result\.json"):
        load_run(folder)


FIELDS = ["space", "seed", "dataset.used", "architecture.string"]
OPTIONAL = ["retrain.valid_perplexity", "retrain.seconds", "algorithm"]


@pytest.mark.parametrize(
    ("dotted", "value"),
    [(name, value) for name in FIELDS + OPTIONAL for value in (None, True, [3], {"a": "b"}) if value or name in FIELDS],
)
def test_a_field_that_is_missing_or_wrong_is_named(made, dotted, value):
    folder = made("wrong", **{dotted.replace(".", "__"): value})
    with pytest.raises(
        UserError, match=rf"^{re.escape(str(folder))}/result\.json: {re.escape(dotted)}.* must be .* got "
    ):
        load_run(folder)


@pytest.mark.parametrize("dotted", OPTIONAL)
def test_a_figure_that_is_unknown_is_left_out(made, dotted):
    folder = made("half", **{dotted.replace(".", "__"): None})
    (row,) = [line for line in render(compared([folder])).split("\n") if " on enas_rnn, " in line and "K = 3 |" in line]
    assert "None" not in row
    assert ("| valid |" in render(compared([folder]))) == (dotted != "retrain.valid_perplexity")


def test_a_perplexity_that_is_not_finite_is_refused(made):
    for name, value in (("nan", float("nan")), ("inf", float("inf")), ("negative", -1.0)):
        with pytest.raises(UserError, match=r"retrain\.test_perplexity must be "):
            load_run(made(name, retrain__test_perplexity=value))
    with pytest.raises(UserError, match=r"lacks retrain\.test_perplexity"):
        load_run(made("unknown", retrain__test_perplexity=None))


def test_what_is_no_folder_or_named_twice_is_refused(made, tmp_path):
    with pytest.raises(UserError, match="nowhere is no folder"):
        load_run(tmp_path / "nowhere")
    folder = made("one")
    with pytest.raises(UserError, match="named twice"):
        load_runs([folder, folder / ".." / "one"])


@FEW
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_a_summary_is_mean_and_sample_deviation(values):
    found = summarize(values)
    assert found.mean == pytest.approx(sum(values) / len(values), abs=1e-6)
    spread = sum((value - found.mean) ** 2 for value in values) / (len(values) - 1)
    assert found.std == pytest.approx(spread**0.5, rel=1e-6, abs=1e-6)
    assert found.standard_error == pytest.approx(found.std / len(values) ** 0.5)


def test_one_number_has_no_spread_and_none_no_summary():
    assert (summarize([3.0]).std, summarize([3.0]).standard_error) == (None, None)
    with pytest.raises(ValueError, match="at least one"):
        summarize([])


@FEW
@given(PERPLEXITIES, PERPLEXITIES)
def test_paired_differences_are_over_common_seeds_alone(left, right):
    common, summary = paired(left, right)
    assert common == tuple(sorted(set(left) & set(right)))
    if not common:
        assert summary is None
        return
    assert summary.n == len(common)
    expected = statistics.fmean(right[seed] for seed in common) - statistics.fmean(left[seed] for seed in common)
    assert summary.mean == pytest.approx(expected, abs=1e-6)


@FEW
@given(PERPLEXITIES)
def test_what_all_seeds_share_is_not_part_of_the_spread_of_a_difference(left):
    _, summary = paired(left, {seed: value + 0.5 for seed, value in left.items()})
    assert summary.mean == pytest.approx(0.5)
    assert summary.std is None or summary.std == pytest.approx(0, abs=1e-6)


def test_runs_that_differ_in_the_seed_alone_are_one_group(made):
    groups = compared([*seeds(made, "cl", [30.0, 32.0]), *seeds(made, "plain", [31.0], **PLAIN)])
    assert [(len(group.runs), group.summary(TEST_PERPLEXITY).mean) for group in groups] == [(2, 31.0), (1, 31.0)]
    assert [group.label for group in groups] == ["enas on enas_rnn, curriculum, K = 3", "enas on enas_rnn, plain"]
    assert groups[0].summary(TEST_PERPLEXITY).std == pytest.approx(2**0.5)


def test_where_nobody_judges_is_the_same_as_no_curriculum(made):
    nobody = made("nobody", {"trainer.seed": 2, "curriculum.num_candidates": 0}, seed=2, curriculum=None)
    (group,) = compared([*seeds(made, "plain", [31.0], **PLAIN), nobody])
    assert len(group.runs) == 2


def test_what_does_not_change_a_result_does_not_part_a_group(made):
    changes = {"trainer.seed": 2, "recipe": "other", "preset": "other", "data": "elsewhere", "trainer.save_steps": 7}
    (group,) = compared([made("one"), made("two", changes, seed=2)])
    assert len(group.runs) == 2


def test_groups_of_one_name_are_told_apart_by_what_differs(made):
    groups = compared([made("one"), made("two", {"trainer.learning_rate": 1.5})])
    assert [group.label.rpartition(", ")[2] for group in groups] == [
        "trainer.learning_rate 5.0",
        "trainer.learning_rate 1.5",
    ]


def test_the_same_experiment_twice_is_refused(made):
    with pytest.raises(UserError, match=r"one and \S*two are the same experiment with seed 1"):
        compared([made("one"), made("two")])
    with pytest.raises(UserError, match="same experiment"):
        compared([], [*cells(made, "a", [1.0]), *cells(made, "b", [1.0])])


def test_given_cells_are_one_group_whichever_they_are(made):
    found, given_cells, random = compared(
        [made("found"), *cells(made, "given", [20.0, 22.0])], cells(made, "random", [24.0])
    )
    assert (found.searched, given_cells.searched, given_cells.random, random.random) == (True, False, False, True)
    assert (len(given_cells.runs), random.label) == (2, "random cells of enas_rnn")


def test_a_searched_run_is_no_random_cell(made):
    with pytest.raises(UserError, match="was searched"):
        compared([], [made("found")])


CHANGES = [
    ({"network.hidden_size": 16}, {}, "network.hidden_size is 8 "),
    ({"retrain.num_train_epochs": 9}, {}, "retrain.num_train_epochs is 3 "),
    ({"text.vocab_size": 90}, {}, "text.vocab_size is 60 "),
    ({}, {"dataset__fingerprint": "0" * 16}, "data is "),
    ({}, {"dataset__used": {"search": 600, "train": 1, "validation": 1, "test": 1}}, "used.test is "),
]


@pytest.mark.parametrize(("config", "result", "line"), CHANGES)
def test_another_text_size_or_training_is_flagged_and_never_averaged(made, config, result, line):
    one = made("one")
    other = made("other", {"trainer.seed": 2, **config}, seed=2, **result)
    groups = compared([one, other])
    assert len(groups) == 2
    found = incomparable(groups)
    assert [each for each in found if each.startswith(line)], found
    assert "**not comparable:**" in render(groups)


def test_groups_on_equal_terms_are_not_flagged(made):
    groups = compared([*seeds(made, "cl", [3.0]), *seeds(made, "plain", [4.0], **PLAIN)], cells(made, "r", [5.0]))
    assert (incomparable(groups), unequal_searches(groups)) == ([], [])
    assert "not comparable" not in render(groups)


def test_searches_of_unequal_budget_are_flagged_apart(made):
    groups = compared([made("one"), made("long", {"trainer.num_train_epochs": 30})])
    assert incomparable(groups) == []
    (line,) = unequal_searches(groups)
    assert line.startswith("trainer.num_train_epochs is 3 ")
    assert "searches of unequal budget" in render(groups)


def test_the_curriculum_is_set_beside_its_plain_twin_seed_by_seed(made):
    text = render(compared([*seeds(made, "cl", [30.0, 31.0, 35.0]), *seeds(made, "plain", [31.0, 33.0], **PLAIN)]))
    (row,) = [line for line in text.split("\n") if "− plain" in line]
    cells_of_row = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells_of_row[1:] == ["1, 2", "-1.50 (s. e. 0.50)", "-1.50 (s. e. 0.50)"]


def test_a_twin_differs_in_the_curriculum_alone(made):
    other = PLAIN | {"config": {"curriculum": None, "trainer.learning_rate": 1.0}}
    assert "− plain" not in render(compared([made("cl"), *seeds(made, "plain", [31.0], **other)]))


def test_how_many_random_cells_are_worse_is_said_plainly(made):
    random = cells(made, "random", [30.0, 32.0, 34.0])
    plain = {name: compared(seeds(made, name, [test], **PLAIN), random) for name, test in PLACES.items()}
    verdicts = {name: against_random(groups)[0] for name, groups in plain.items()}
    assert {name: v.better_than for name, v in verdicts.items()} == {"ahead": 3, "between": 2, "level": 1, "behind": 1}
    assert verdicts["behind"].best.figures[TEST_PERPLEXITY] == 30.0
    words = render(plain["between"])
    assert "31.00 is better than **2 of 3** random cells (32.00 ± 2.00, best 30.00)" in words
    assert "say little" not in words


PLACES = {"ahead": 29.0, "between": 31.0, "level": 32.0, "behind": 33.0}


def test_the_best_random_cell_is_chosen_on_validation_text(made):
    lucky = cells(made, "lucky", [20.0], retrain__valid_perplexity=50.0)
    chosen = cells(made, "chosen", [30.0], first=1, retrain__valid_perplexity=40.0)
    (verdict,) = against_random(compared([made("found")], [*lucky, *chosen]))
    assert verdict.best.figures[TEST_PERPLEXITY] == 30.0


def test_without_enough_random_cells_the_comparison_says_so(made):
    found = made("found")
    assert "**not known**, there are no random cells of enas_rnn" in render(compared([found]))
    assert "so few say little" in render(compared([found], cells(made, "random", [30.0])))


def test_random_cells_of_another_training_are_no_reference(made):
    random = cells(made, "random", [1.0, 1.0], config=GIVEN["config"] | {"retrain.num_train_epochs": 99})
    groups = compared([made("found")], random)
    (verdict,) = against_random(groups)
    assert (verdict.comparable, verdict.better_than) == (False, 0)
    assert "**not comparable:** retrain.num_train_epochs" in render(groups)


def test_strings_from_files_cannot_mark_up_the_comparison(made):
    evil = "<b>|x|`*\n# title"
    text = render(compared([made("evil", algorithm=evil, space=evil, dataset__fingerprint=evil), made("good")]))
    assert "<b>" not in text
    assert "\n# title" not in text
    (table,) = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert {len(re.split(r"(?<!\\)\|", row)) for row in table.strip().split("\n")} == {10}
