"""Table 2: which runs, on equal terms, and what the table says of them, also of folders that lack accuracies."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from image_folders import benchmark_metrics, write_image_run

from cnas.runs.config import RunConfig
from cnas.sweeps import read_grid
from cnas.sweeps.many import LOG
from cnas.sweeps.nats_table2 import PAPER

RECIPES = Path(__file__).parents[1] / "recipes"
ROWS = [
    f"{name}{kind}" for name in ("rsps", "darts_v1", "darts_v2", "gdas", "setn", "enas", "spos") for kind in ("", "-cl")
]
TWO = ("--preset", "smoke", "--table", "tss.parquet", "--seeds", "1", "2", "--random", "2")


@pytest.fixture(scope="module")
def table2():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPES))
        return runpy.run_path(str(RECIPES / "nats_table2.py"))


def plan_of(table2, *argv):
    return table2["TABLE"].parse(argv)[0]


@pytest.mark.parametrize("preset", ["smoke", "cpu", "paper"])
def test_all_rows_share_images_supernet_and_epochs(table2, preset):
    rows = table2["PRESETS"][preset]()
    assert list(rows) == ROWS
    assert set(rows) - set(PAPER) == {"spos", "spos-cl"}
    assert {(config.recipe, config.preset, config.retrain.num_train_epochs) for config in rows.values()} == {
        ("nats_table2", preset, 0)
    }
    flat = [config.to_json() for config in rows.values()]
    for name in ("images", "space", "trainer", "network", "retrain", "data"):
        assert len({json.dumps(values[name], sort_keys=True) for values in flat}) == 1, name
    for name, config in rows.items():
        assert config.algorithm == name.removesuffix("-cl")
        assert (config.curriculum is None) == (not name.endswith("-cl"))
        assert replace(config, curriculum=None) == rows[name.removesuffix("-cl")]


def test_the_plan_has_every_row_and_random_cells_for_every_seed(table2):
    jobs = plan_of(table2, *TWO).jobs()
    assert len({job.name for job in jobs}) == len(jobs) == 2 * (14 + 2)
    assert {job.config.table for job in jobs} == {"tss.parquet"}
    assert all(RunConfig.from_json(job.config.to_json()) == job.config for job in jobs)
    assert len({job.config.architecture for job in jobs}) == 1 + 2 * 2


def test_the_grid_file_asks_for_the_same_runs(table2):
    grid = read_grid(RECIPES / "grids" / "nats_table2.yaml")
    plan = plan_of(table2, "--data", "cifar10", "--table", "tss.parquet")
    for found, planned in ((grid.searches, plan.searches()), (grid.references, plan.references())):
        assert {job.config.hash for job in found} == {job.config.hash for jobs in planned.values() for job in jobs}


BAD = {
    (): "--table must be a table of NATS-Bench, got none",
    ("--table", "t", "--jobs", "0"): "--jobs must be at least 1, got 0",
    ("--table", "t", "--random", "-1"): "--random must be at least 0",
    ("--table", "t", "--seeds", "-1"): "--seeds must be at least 0",
    ("--tabel", "t"): "did you mean --table?",
}


@pytest.mark.parametrize("argv", BAD, ids=" ".join)
def test_a_mistake_is_one_line_and_code_2(table2, argv, capsys):
    assert table2["TABLE"].main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert BAD[argv] in error


# The table ---------------------------------------------------------------------------------------------------------

CIFAR10 = dict.fromkeys(ROWS, 90.0) | {"rsps-cl": 92.0, "gdas": 94.0, "gdas-cl": 80.0}


def accuracies(value):
    return {"cifar10": value, "cifar100": value - 20, "imagenet16_120": value - 50}


@pytest.fixture
def table_of_two_seeds(table2, tmp_path):
    """A plan all of whose runs are finished: GDAS and CL-RSPS beat random cells, the other searches do not."""
    plan = plan_of(table2, *TWO)
    for job in plan.jobs():
        row, seed = job.name.rpartition("-s")[0], job.config.seed
        tau = {"kendall_tau": 0.25 * seed, "ranked": 100} if row in CIFAR10 else {}
        value = CIFAR10.get(row, 91.5) + seed / 2
        record = benchmark_metrics(value, test_accuracies=accuracies(value), **tau)
        write_image_run(tmp_path / job.name, job.config, benchmark=record)
    return plan


def row_of(text, label):
    (found,) = [line for line in text.split("\n") if line.startswith(f"| {label} |")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_table_says_what_the_runs_say(table2, table_of_two_seeds, tmp_path, capsys):
    assert table2["TABLE"].run(table_of_two_seeds, tmp_path, 1) == 0
    text = (tmp_path / "table.md").read_text("utf-8")
    assert text in capsys.readouterr().out
    assert row_of(text, "CL-RSPS")[1:] == [
        *("2", "92.75 ± 0.35", "93.25 ± 0.41", "72.75 ± 0.35", "69.49 ± 1.33", "42.75 ± 0.35", "42.58 ± 0.97"),
        *("–", "225 ± 35", "2.25 ± 0.35", "0.38 ± 0.18", "61 s"),
    ]
    assert row_of(text, "CL-SPOS")[2:4] == ["90.75 ± 0.35", "–"]
    assert row_of(text, "random cells of nats")[1:4] == ["4", "92.25 ± 0.29", "–"]
    assert row_of(text, "random cells of nats")[-2:] == ["–", "–"]
    assert row_of(text, "CL-GDAS − GDAS")[1:4] == ["1, 2", "-14.00 (s. e. 0.00)", "+0.31"]
    assert row_of(text, "CL-GDAS − GDAS")[9:11] == ["+1,400 (s. e. 0)", "+14.00 (s. e. 0.00)"]
    assert row_of(text, "CL-SPOS − SPOS")[3] == "–"
    assert "- GDAS: 94.75 is better than **4 of 4** random cells (92.25 ± 0.29, best 92.50)" in text
    assert "- CL-GDAS: 80.75 is better than **0 of 4** random cells" in text
    for line in (
        "- images: digits, fingerprint f",
        "- table: tss.parquet",
        "15,625 cells",
        "ranking of 100 cells, the same for every run",
    ):
        assert line in text
    assert "- The paper searched on each data set anew; here one search" in text
    assert "- The paper's ± is the population deviation of three searches; here it is the sample deviation" in text
    assert "missing" not in text


def test_a_run_that_is_missing_is_named_and_counts_nowhere(table2, table_of_two_seeds, tmp_path):
    codes = {job.name: 0 for job in table_of_two_seeds.jobs()} | {"enas-s2": 4, "setn-s1": 4, "setn-s2": 4}
    (tmp_path / "enas-s2" / LOG).write_text("a line\nerror: the loss became nan\n", "utf-8")
    text = table2["TABLE"].to_markdown(table_of_two_seeds, tmp_path, codes)
    assert row_of(text, "ENAS")[1:3] == ["1", "90.50"]
    assert row_of(text, "SETN")[1:4] == ["0", "–", "92.72 ± 0.73"]
    assert "- missing: enas-s2, error: the loss became nan (log: " in text
    assert "CL-SETN − SETN" not in text


def test_without_a_finished_run_there_are_the_papers_figures_alone(table2, tmp_path):
    plan = plan_of(table2, "--preset", "smoke", "--table", "tss.parquet", "--random", "0")
    text = table2["TABLE"].to_markdown(plan, tmp_path, {job.name: 4 for job in plan.jobs()})
    assert row_of(text, "RSPS")[1:4] == ["0", "–", "91.05 ± 0.66"]
    assert text.count("- missing: ") == 14
