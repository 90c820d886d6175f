"""The recipe for images from its command line to a model that loads, on a few handwritten digits."""

import json
import sys

import pytest
import torch
from builders import fits
from image_folders import CELL
from PIL import Image
from safetensors.torch import load_file
from transformers import pipeline

from cnas import algorithms
from cnas.cli import main as cli
from cnas.cli.launch import main
from cnas.data import ImageConfig, load_images
from cnas.training.metrics_log import read, stable

SMALL = [
    "--preset",
    "smoke",
    "--images.search-images",
    "64",
    "--images.valid-images",
    "32",
    "--trainer.num-train-epochs",
    "3",
]
SMALL += ["--images.train-images", "64", "--images.test-images", "32", "--trainer.eval-batch-size", "32"]
SMALL += ["--retrain.num-train-epochs", "1"]


def run(algorithm, *argv):
    return main("nats_cl", ["--algorithm", algorithm, *SMALL, *argv])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "run"
    assert run("gdas", "--output-dir", str(folder)) == 0
    return folder


def test_the_result_says_what_was_done(finished):
    result = json.loads((finished / "result.json").read_text("utf-8"))
    assert (result["space"], result["algorithm"], result["dataset"]["name"]) == ("nats", "gdas", "digits")
    fields = {"num_candidates": 5, "sharpness": 1.0, "refresh": "epoch", "unit": "sample"}
    fields |= {"every": 1, "source": "candidates"}
    assert result["curriculum"] == {"name": "uncertainty", "k": 5, **fields}
    assert result["dataset"]["used"] == {"search": 64, "train": 64, "validation": 32, "test": 32}
    assert 0 <= result["retrain"]["test_accuracy"] <= 100
    assert result["architecture"]["string"].count("~") == 6
    rows = [row for row in read(finished / "metrics.jsonl") if row["phase"] == "search"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["weight_min"] < 1 < rows[-1]["weight_max"]
    assert len(rows[-1]["weight_traces"]) == 64
    assert {"alphas", "valid_accuracy"} <= set(rows[0])


def test_the_model_reads_pictures_and_has_the_accuracy_of_the_result(finished):
    digits = load_images("digits", ImageConfig(**{f"{name}_images": 32 for name in ("valid", "test")}))
    classify = pipeline("image-classification", str(finished / "model"))
    pictures = [Image.fromarray(image[0].numpy()) for image in digits.test.images]
    found = [guesses[0]["label"] for guesses in classify(pictures)]
    right = [label == digits.classes[int(truth)] for label, truth in zip(found, digits.test.labels, strict=True)]
    result = json.loads((finished / "result.json").read_text("utf-8"))
    assert 100 * sum(right) / len(right) == pytest.approx(result["retrain"]["test_accuracy"])


def test_the_report_shows_the_images_and_the_card_the_accuracy(finished):
    page = (finished / "report.html").read_text("utf-8")
    assert page.count('<img class="sample"') == 12
    assert "accuracy" in (finished / "README.md").read_text("utf-8")
    wrong = json.loads((finished / "misclassified.json").read_text("utf-8"))
    assert wrong["test"]["samples"] == 32


def test_it_goes_on_with_no_text(finished, capsys):
    assert cli.main(["generate", str(finished), "the"]) == 2
    assert "holds no language model: its model/ has no tokenizer.json" in capsys.readouterr().err


def test_an_equal_run_is_equal_and_one_without_training_leaves_no_model(finished, tmp_path):
    assert run("gdas", "--output-dir", str(tmp_path / "again"), "--retrain.num-train-epochs", "0") == 0
    rows = [[stable(row) for row in read(folder / "metrics.jsonl")] for folder in (finished, tmp_path / "again")]
    assert [row for row in rows[0] if row["phase"] == "search"] == rows[1]
    assert not (tmp_path / "again" / "model").exists()
    assert json.loads((tmp_path / "again" / "result.json").read_text("utf-8"))["retrain"] is None


@pytest.mark.parametrize("algorithm", [name for name in algorithms.names() if name != "gdas" and fits(name, "nats")])
def test_every_algorithm_goes_through(algorithm, tmp_path):
    shorter = ["--trainer.num-train-epochs", "1", "--no-curriculum", "--retrain.num-train-epochs", "0"]
    assert run(algorithm, "--output-dir", str(tmp_path / algorithm), *shorter) == 0
    assert json.loads((tmp_path / algorithm / "result.json").read_text("utf-8"))["algorithm"] == algorithm


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--architecture", "|nor_conv_3x3~0|"], "architecture"),
        (["--trainer.global-batch-size", "1"], "trainer.global_batch_size must be at least 2"),
        (["--curriculum.unit", "token"], "curriculum.unit must be sample for images, got 'token'"),
        (["--trainer.micro-batch-size", "2"], "trainer.micro_batch_size must be none"),
        (
            ["--retrain.num-train-epochs", "1", "--retrain.micro-batch-size", "2"],
            "retrain.micro_batch_size must be none",
        ),
        (
            ["--retrain.num-train-epochs", "1", "--retrain.global-batch-size", "1"],
            "retrain.global_batch_size must be at least 2",
        ),
        (
            ["--architecture", CELL, "--retrain.num-train-epochs", "0"],
            "retrain.num_train_epochs must be at least 1 for a given architecture, got 0",
        ),
        (["--table", "nowhere.parquet"], "nowhere.parquet"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_written(argv, message, tmp_path, capsys):
    assert run("rsps", "--output-dir", str(tmp_path / "run"), *argv) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_unknown_algorithm_is_named_with_those_there_are(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["nats_cl.py", "--algorithm", "magic"])
    assert main("nats_cl") == 2
    allowed = "darts_v1, darts_v2, enas, gdas, pareto, rsps, sandwich, setn, spos"
    assert f"--algorithm must be one of {allowed}, got 'magic'" in capsys.readouterr().err


def test_a_stopped_run_goes_on_to_the_same_end(finished, tmp_path, monkeypatch):
    from cnas.training.search import SearchLoop

    step, seen = SearchLoop.train_step, []

    def stopping(self, index):
        seen.append(index)
        if len(seen) == 3:
            self.context.stop.request("a test")
        return step(self, index)

    monkeypatch.setattr(SearchLoop, "train_step", stopping)
    assert run("gdas", "--output-dir", str(tmp_path / "run")) == 75
    monkeypatch.undo()
    assert run("gdas", "--output-dir", str(tmp_path / "run"), "--resume") == 0
    rows = [[stable(row) for row in read(folder / "metrics.jsonl")] for folder in (finished, tmp_path / "run")]
    assert rows[0] == rows[1]
    models = [load_file(folder / "model" / "model.safetensors") for folder in (finished, tmp_path / "run")]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
