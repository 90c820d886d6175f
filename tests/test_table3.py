"""Table 3: which runs, on equal terms, and what the table says of them."""

import json
import math
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_recipe
from finished_folders import figures, finished_copy

from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.sweeps import Plan, read_grid
from cnas.sweeps.many import LOG
from cnas.sweeps.ptb_table3 import PAPER

RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.fixture(scope="module")
def table3():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPES))
        return runpy.run_path(str(RECIPES / "ptb_table3.py"))


@pytest.fixture
def tiny(home):
    """The tiny configuration on a corpus that is found from everywhere."""
    config = tiny_recipe.tiny()
    return replace(config, data=str(home / "corpus"))


def different(configs, names):
    """By name, the values that a field takes over configurations."""
    flat = [config.to_json() for config in configs]
    return {name: {json.dumps(values[name], sort_keys=True) for values in flat} for name in names}


ROWS = ["enas", "enas-cl", "darts_v1", "darts_v1-cl", "darts_v2", "darts_v2-cl"]


@pytest.mark.parametrize("preset", ["smoke", "cpu", "paper"])
def test_all_rows_share_slice_network_and_training(table3, preset):
    rows = table3["PRESETS"][preset]()
    assert list(rows) == ROWS == list(PAPER)
    assert {(config.recipe, config.preset) for config in rows.values()} == {("ptb_table3", preset)}
    found = different(rows.values(), ["text", "network", "retrain", "data"])
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(found, 1)
    assert [config.algorithm for config in rows.values()] == [row.removesuffix("-cl") for row in ROWS]
    for name, config in rows.items():
        assert (config.curriculum is None) == (not name.endswith("-cl"))
        twin = rows[name.removesuffix("-cl")]
        assert replace(config, curriculum=None) == twin


@pytest.mark.parametrize("preset", ["smoke", "cpu"])
def test_small_searches_have_the_same_budget(table3, preset):
    rows = table3["PRESETS"][preset]().values()
    loops = {(row.trainer.num_train_epochs, row.trainer.global_batch_size, row.trainer.eval_batch_size) for row in rows}
    assert len(loops) == 1
    assert len({(row.space.hidden_size, row.space.nodes) for row in rows}) == 1


def test_the_published_searches_are_those_of_the_recipes(table3):
    rows = table3["PRESETS"]["paper"]()
    assert (rows["enas"].trainer.num_train_epochs, rows["enas"].space.hidden_size) == (600, 200)
    assert (rows["darts_v2"].trainer.num_train_epochs, rows["darts_v2"].space.hidden_size) == (50, 300)
    assert {row.retrain.num_train_epochs for row in rows.values()} == {8000}


@pytest.mark.parametrize("preset", ["smoke", "cpu", "paper"])
def test_every_search_keeps_the_optimiser_of_its_recipe(table3, preset):
    recipes = {"enas": "ptb_cl_enas", "darts_v1": "ptb_cl_darts", "darts_v2": "ptb_cl_darts"}
    for name, config in table3["PRESETS"][preset]().items():
        own = RunConfig.from_preset(f"{recipes[name.removesuffix('-cl')]}/{preset}").trainer
        assert (config.trainer.learning_rate, config.trainer.max_grad_norm) == (own.learning_rate, own.max_grad_norm)


def plan_of(table3, *argv):
    return table3["TABLE"].parse(argv)


def test_the_plan_has_every_row_and_random_cells_for_every_seed(table3):
    words = ("--preset", "smoke", "--seeds", "1", "3", "--random", "2", "--jobs", "2")
    plan, home, at_once, stop = plan_of(table3, *words)
    assert (home, at_once, stop.deadline) == (Path("runs/ptb_table3-smoke"), 2, math.inf)
    jobs = plan.jobs()
    assert len({job.name for job in jobs}) == len(jobs) == 2 * (6 + 2 * 2)
    assert [job.config.seed for job in jobs] == [1] * 10 + [3] * 10
    assert all(RunConfig.from_json(job.config.to_json()) == job.config for job in jobs)


def test_random_cells_are_drawn_from_the_seed_and_trained_like_the_found_ones(table3):
    plan, *_ = plan_of(table3, "--preset", "smoke", "--seeds", "1", "2", "--random", "3")
    again, *_ = plan_of(table3, "--preset", "smoke", "--seeds", "2", "--random", "3")
    references = plan.references()
    assert references.keys() == {"enas_rnn", "darts_rnn"}
    row = plan.rows["enas"]
    chosen = [[job.config.architecture.split() for job in jobs] for jobs in references.values()]
    sources = [[words[start::2] for words in cells] for cells, start in zip(chosen, (0, 1), strict=True)]
    assert not [cell for cell in sources[0] if cell in sources[1]]
    for space, jobs in references.items():
        assert len({job.config.architecture for job in jobs}) == 6
        assert [job for job in jobs if job.config.seed == 2] == again.references()[space]
        for job in jobs:
            config = job.config
            assert (config.retrain, config.network, config.text, config.curriculum) == (
                row.retrain,
                row.network,
                row.text,
                None,
            )
            assert config.space.parse(config.architecture).to_str() == config.architecture


def test_more_random_cells_than_there_are_is_refused(tiny):
    plan = Plan({"enas": tiny}, (1,), 33)
    with pytest.raises(UserError, match="random must be at most 32, the architectures of enas_rnn, got 33"):
        plan.jobs()
    assert len(Plan({"enas": tiny}, (1,), 32).references()["enas_rnn"]) == 32


def test_random_cells_that_cannot_be_drawn_are_not_waited_for(tiny, monkeypatch):
    monkeypatch.setattr(type(tiny.space), "size", 40)  # as where disconnected ones count too
    with pytest.raises(UserError, match="random must be at most 32, the architectures of enas_rnn, got 33"):
        Plan({"enas": tiny}, (1,), 33).jobs()


def test_the_grid_file_asks_for_the_same_runs(table3):
    grid = read_grid(RECIPES / "grids" / "ptb_table3.yaml")
    plan, *_ = plan_of(table3)
    for found, planned in ((grid.searches, plan.searches()), (grid.references, plan.references())):
        assert {job.config.hash for job in found} == {job.config.hash for jobs in planned.values() for job in jobs}


def test_data_is_that_of_every_run(table3):
    plan, *_ = plan_of(table3, "--data", "elsewhere", "--output-dir", "here")
    assert {job.config.data for job in plan.jobs()} == {"elsewhere"}


def test_a_time_that_is_over_starts_nothing_and_ends_with_75(table3, tmp_path, capsys):
    argv = ("--preset", "smoke", "--output-dir", str(tmp_path / "runs"), "--stop-after", "0.01s")
    assert table3["TABLE"].main(argv) == 75
    assert capsys.readouterr().err == "error: stopped by --stop-after 0.01s; go on with the same command\n"
    assert not (tmp_path / "runs").exists()


BAD = {
    ("--jobs", "0"): "--jobs must be at least 1, got 0",
    ("--stop-after", "-9m"): "expected one argument",
    ("--stop-after", "9"): "--stop-after must be a time above 0, such as 90s, 9m or 1.5h, got '9'",
    ("--random", "-1"): "--random must be at least 0",
    ("--seeds", "-1"): "--seeds must be at least 0",
    ("--seeds", "x"): "invalid int value",
    ("--preset", "huge"): "invalid choice: 'huge'",
    ("--sedes", "1"): "did you mean --seeds?",
}


@pytest.mark.parametrize("argv", BAD, ids=" ".join)
def test_a_mistake_is_one_line_and_code_2(table3, argv, capsys):
    assert table3["TABLE"].main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert BAD[argv] in error


# The table ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def table_of_two_seeds(table3, finished, tmp_path):
    """A plan all of whose runs are finished: DARTS-V2 is better than the random cells, the other searches are not."""
    plan, *_ = plan_of(table3, "--preset", "smoke", "--seeds", "1", "2", "--random", "2")
    tests = {
        "enas": 60.0,
        "enas-cl": 58.0,
        "darts_v1": 60.0,
        "darts_v1-cl": 61.0,
        "darts_v2": 50.0,
        "darts_v2-cl": 51.0,
    }
    for job in plan.jobs():
        row, seed = job.name.rpartition("-s")[0], job.config.seed
        changes = {
            "seed": seed,
            "space": job.config.space.name,
            "retrain": figures(finished, tests.get(row, 56) + seed),
        }
        if row in tests:
            changes["algorithm"] = job.config.algorithm
        else:
            changes |= {"search": None, "algorithm": None}
            changes["architecture"] = {"space": job.config.space.name, "string": job.config.architecture}
        finished_copy(finished, tmp_path / job.name, job.config, **changes)
    return plan


def row_of(text, label):
    (found,) = [line for line in text.split("\n") if line.startswith(f"| {label} |")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_table_says_what_the_runs_say(table3, table_of_two_seeds, tmp_path, capsys):
    assert table3["TABLE"].run(table_of_two_seeds, tmp_path, 1) == 0
    text = (tmp_path / "table.md").read_text("utf-8")
    assert text in capsys.readouterr().out
    assert row_of(text, "CL-ENAS")[1:6] == ["2", "60.50 ± 0.71", "59.50 ± 0.71", "61.58", "58.38"]
    assert row_of(text, "random cells of darts_rnn")[1:6] == ["4", "58.50 ± 0.58", "57.50 ± 0.58", "–", "–"]
    assert row_of(text, "CL-ENAS − ENAS")[1:] == ["1, 2", *["-2.00 (s. e. 0.00)"] * 2, "-1.08", "-1.55"]
    assert "- DARTS-V2: 51.50 is better than **4 of 4** random cells (57.50 ± 0.58, best 57.00)" in text
    assert "- ENAS: 61.50 is better than **0 of 4** random cells" in text
    assert "- text: corpus, fingerprint " in text
    assert "missing" not in text


def test_a_run_that_is_missing_is_named_and_counts_nowhere(table3, table_of_two_seeds, tmp_path):
    codes = {job.name: 0 for job in table_of_two_seeds.jobs()} | {"enas-s2": 4, "darts_v1-s1": 4, "darts_v1-s2": 4}
    (tmp_path / "enas-s2" / LOG).write_text("a line\nerror: the loss became nan\n", "utf-8")
    text = table3["TABLE"].to_markdown(table_of_two_seeds, tmp_path, codes)
    assert row_of(text, "ENAS")[1:4] == ["1", "62.00", "61.00"]
    assert row_of(text, "DARTS-V1")[1:4] == ["0", "–", "–"]
    assert "- missing: enas-s2, error: the loss became nan (log: " in text
    assert "CL-DARTS-V1 − DARTS-V1" not in text
