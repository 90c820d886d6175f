"""The recipe that trains one given cell: presets, refusals, and a run to its end on a few digits."""

import json
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "recipes"))
import nats_train  # noqa: E402

from cnas.cli.launch import parse  # noqa: E402
from cnas.errors import UserError  # noqa: E402
from cnas.runs.config import RunConfig  # noqa: E402
from cnas.sweeps import read_grid  # noqa: E402

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
CELL = "|skip_connect~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|none~2|"


@pytest.mark.parametrize("name", ["smoke", "cpu", "paper"])
def test_a_preset_names_itself_searches_nothing_and_is_read_back(name):
    config = RunConfig.from_preset(f"nats_train/{name}")
    assert (config.recipe, config.preset, config.curriculum) == ("nats_train", name, None)
    assert config.space.parse(config.architecture).to_str() == BEST
    assert config.retrain.num_train_epochs > 0
    assert RunConfig.from_json(config.to_json()) == config


def test_paper_is_the_training_of_the_benchmark():
    """Dong et al. (2021), Table 2."""
    config = RunConfig.from_preset("nats_train/paper")
    loop = config.retrain
    assert (loop.num_train_epochs, loop.global_batch_size, loop.learning_rate) == (200, 256, 0.1)
    assert loop.lr_scheduler_type == "cosine_by_epoch"
    assert (loop.momentum, loop.nesterov, loop.weight_decay, loop.max_grad_norm) == (0.9, True, 5e-4, None)
    assert (loop.nonmonotone, loop.average_from, loop.final_learning_rate) == (None, None, 0.0)
    assert (config.network.channels, config.network.cells) == (16, 5)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--architecture", "none"], "--architecture must be a cell, got none; recipes/nats_cl.py searches for one"),
        (["--retrain.num-train-epochs", "0"], "--retrain.num_train_epochs must be at least 1, got 0"),
        (["--curriculum.k", "5"], "unknown flag --curriculum.k"),
    ],
)
def test_what_is_no_training_is_refused(argv, message):
    with pytest.raises(UserError, match=message):
        nats_train.check(parse(nats_train.RECIPE, argv)[0])


def start(monkeypatch, *argv):
    monkeypatch.setattr(sys, "argv", ["nats_train.py", *argv])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "recipes" / "nats_train.py"), run_name="__main__")
    return ended.value.code


def test_a_given_cell_is_trained_measured_and_saved(tmp_path, monkeypatch, capsys):
    few = ["--images.train-images", "64", "--images.valid-images", "32", "--images.test-images", "32"]
    flags = [*few, "--retrain.num-train-epochs", "1", "--architecture", CELL, "--output-dir", str(tmp_path / "run")]
    assert start(monkeypatch, "--preset", "smoke", *flags) == 0
    assert "given cell" in capsys.readouterr().out
    result = json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))
    assert (result["search"], result["algorithm"], result["curriculum"]) == (None, None, None)
    assert result["architecture"]["string"] == CELL
    wrong = json.loads((tmp_path / "run" / "misclassified.json").read_text("utf-8"))["test"]
    assert wrong["samples"] == 32
    assert 100 * (1 - len(wrong["wrong"]) / 32) == pytest.approx(result["retrain"]["test_accuracy"])
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


def test_a_malformed_cell_is_one_line_before_anything_is_written(tmp_path, monkeypatch, capsys):
    flags = ["--preset", "smoke", "--architecture", "|skip~0|", "--output-dir", str(tmp_path / "run")]
    assert start(monkeypatch, *flags) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert start(monkeypatch, "--architecture", "none") == 2


def test_the_grids_of_the_figures_ask_for_the_runs_they_name():
    cells = read_grid(ROOT / "recipes" / "grids" / "five_cells.yaml").jobs
    assert len({job.config.architecture for job in cells}) == len(cells) == 5
    assert {job.config.curriculum for job in cells} == {None}
    sweep = read_grid(ROOT / "recipes" / "grids" / "k_sweep.yaml").jobs
    judged = sorted(
        (job.config.seed, job.config.curriculum.num_candidates if job.config.curriculum else 0) for job in sweep
    )
    assert judged == [(seed, k) for seed in (1, 2, 3) for k in (0, 1, 3, 5, 9, 15)]
    assert all(job.config.retrain.num_train_epochs and job.config.data == "digits" for job in sweep)
