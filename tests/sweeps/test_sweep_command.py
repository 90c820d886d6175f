"""``cnas sweep``: what it lists, does, compares and says when something is missing."""

import pytest
from finished_folders import figures, finished_copy
from forked import Forked

from cnas.cli import main as cli
from cnas.runs.lock import lock
from cnas.sweeps import executors, read_grid

AXES = {"seed": [1, 2], "curriculum": [False, True]}


@pytest.fixture
def forked(monkeypatch):
    monkeypatch.setattr(executors, "settings", lambda name, given=None: Forked())


@pytest.fixture
def two_seeds(grid_file, finished, tmp_path):
    """A grid file all of whose runs are finished: the curriculum gains 2, random cells are at 55."""
    file = grid_file(grid=AXES, random=2)
    grid = read_grid(file)
    for job in grid.jobs:
        seed, curriculum = job.config.seed, job.config.curriculum
        changes = {"seed": seed, "curriculum": {"name": "uncertainty", "k": 3} if curriculum else None}
        changes["retrain"] = figures(finished, (58 if curriculum else 60) + seed)
        if job in grid.references:
            changes |= {"search": None, "algorithm": None, "retrain": figures(finished, 55 + seed)}
            changes["architecture"] = {"space": "enas_rnn", "string": job.config.architecture}
        finished_copy(finished, tmp_path / "runs" / job.name, job.config, **changes)
    return file


def sweep(file, tmp_path, *argv):
    return cli.main(["sweep", str(file), "--output-dir", str(tmp_path / "runs"), *argv])


def test_a_dry_run_lists_and_starts_nothing(grid_file, finished, tmp_path, capsys):
    file = grid_file(grid=AXES, random=1)
    jobs = read_grid(file).jobs
    first, second, third = (tmp_path / "runs" / job.name for job in jobs[:3])
    finished_copy(finished, first, jobs[0].config)
    finished_copy(finished, second, jobs[1].config)
    (second / "result.json").unlink()
    third.mkdir()
    with lock(third):
        assert sweep(file, tmp_path, "--dry-run") == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny")]
    assert [row[0].removeprefix("| ") for row in rows] == [job.name for job in jobs]
    assert [row[1] for row in rows[:3]] == [
        "seed 1, curriculum False",
        "seed 1, curriculum True",
        "random cell, seed 1",
    ]
    assert [row[2].split(",")[0].removesuffix(" |") for row in rows] == [
        "finished",
        "begun",
        "running",
        *["not begun"] * 3,
    ]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(job.name for job in jobs[:3])


def test_the_folder_is_named_after_the_grid(grid_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sweep", str(grid_file(grid=AXES)), "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("4 runs in runs/tiny\n")


def test_finished_runs_are_compared_and_the_comparison_is_kept(two_seeds, tmp_path, capsys):
    assert sweep(two_seeds, tmp_path) == 0
    out = capsys.readouterr().out
    assert out.startswith("8 of 8 runs are finished already\n")
    text = (tmp_path / "runs" / "table.md").read_text("utf-8")
    assert text in out
    assert "| enas on enas_rnn, curriculum, K = 3 | 2 | 1, 2 |" in text
    assert "| 1, 2 | -2.00 (s. e. 0.00) | -2.00 (s. e. 0.00) |" in text
    assert "is better than **0 of 4** random cells (56.50 ± 0.58, best 56.00)" in text
    assert "missing" not in text
    assert "left out" not in text


def test_what_is_not_finished_is_named_and_counts_nowhere(two_seeds, tmp_path, capsys):
    job = read_grid(two_seeds).jobs[0]
    (tmp_path / "runs" / job.name / "result.json").unlink()
    with lock(tmp_path / "runs" / job.name):
        assert sweep(two_seeds, tmp_path) == 75
    captured = capsys.readouterr()
    assert captured.err == f"error: 1 of 8 runs are not finished: {job.name}\n"
    text = (tmp_path / "runs" / "table.md").read_text("utf-8")
    assert text in captured.out
    assert f"- missing: {job.name}, it said nothing (log: " in text
    assert "| enas on enas_rnn, plain | 1 | 2 |" in text


def test_nothing_finished_is_no_comparison(grid_file, tmp_path, forked, capsys):
    file = grid_file(flags={"retrain.global_batch_size": 99_999})
    assert sweep(file, tmp_path) == 2
    (job,) = read_grid(file).jobs
    text = (tmp_path / "runs" / "table.md").read_text("utf-8")
    assert text.startswith(f"- missing: {job.name}, error: ")
    assert "batch_size 99999" in text
    assert "1 of 1 runs are not finished" in capsys.readouterr().err


def test_one_experiment_under_two_configurations_is_counted_once(grid_file, finished, tmp_path, capsys):
    file = grid_file(grid={"trainer.save_steps": [None, 5]})
    first, second = read_grid(file).jobs
    for job in (first, second):
        finished_copy(finished, tmp_path / "runs" / job.name, job.config)
    assert sweep(file, tmp_path) == 0
    text = (tmp_path / "runs" / "table.md").read_text("utf-8")
    assert f"- left out: {second.name}, the same experiment as {first.name}" in text
    assert "| enas on enas_rnn, curriculum, K = 3 | 1 | 1 |" in text


BAD = {
    ("--jobs", "0"): "--jobs must be at least 1, got 0",
    ("--jobs", "many"): "invalid int value: 'many'",
    ("--stop-after", "0m"): "--stop-after must be a time above 0, such as 90s, 9m or 1.5h, got '0m'",
    ("--stop-after", "soon"): "--stop-after must be a time above 0, such as 90s, 9m or 1.5h, got 'soon'",
    ("--executor", "cloud"): "executor must be one of local, ray, slurm, got 'cloud'",
    ("--dry",): "unknown flag --dry; did you mean --dry-run?",
}


@pytest.mark.parametrize("argv", BAD, ids=" ".join)
def test_a_mistake_is_one_line_and_code_2(argv, grid_file, tmp_path, capsys):
    assert sweep(grid_file(), tmp_path, *argv) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert BAD[argv] in captured.err


def test_a_time_that_is_over_starts_nothing_and_ends_with_75(grid_file, tmp_path, capsys):
    assert sweep(grid_file(), tmp_path, "--stop-after", "0.01s") == 75
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: stopped by --stop-after 0.01s; go on with the same command\n")
    assert not (tmp_path / "runs").exists()


def test_wrong_settings_are_found_before_anything_starts(grid_file, tmp_path, capsys):
    assert sweep(grid_file(local={"threads": 0}), tmp_path) == 2
    assert capsys.readouterr().err == "error: local.threads must be at least 1, got 0\n"
    assert not (tmp_path / "runs").exists()


def test_a_comparison_that_cannot_be_written_says_so(two_seeds, tmp_path, capsys):
    (tmp_path / "runs" / "table.md").mkdir()
    assert sweep(two_seeds, tmp_path) == 5
    assert capsys.readouterr().err.startswith("error: cannot write ")
