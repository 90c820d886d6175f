"""Few images of one's own: batches are cut to them, which is said once and is otherwise as if one had asked for it."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace

import pytest
from made_images import made, write_classes

from cnas.cli.launch import main
from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.runs.images import ImageTask
from cnas.training.metrics_log import read, stable
from cnas.training.search import SearchLoop

CUT = {"trainer.global_batch_size": 15, "trainer.eval_batch_size": 15, "retrain.global_batch_size": 15}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Thirty images, of which fifteen are trained on, and a note."""
    splits = {"train": made(30, (1, 6, 6), 3), "test": made(9, (1, 6, 6), 3, seed=2)}
    folder = write_classes(tmp_path_factory.mktemp("images") / "mine", splits, ["ant", "bee", "cow"])
    (folder / "notes.txt").write_text("mine", "utf-8")
    return folder


def run(folder, output, *argv):
    words = ["--preset", "smoke", "--data", str(folder), "--output-dir", str(output), "--trainer.num-train-epochs", "2"]
    return main("nats_cl", ["--algorithm", "rsps", *words, "--retrain.num-train-epochs", "1", *argv])


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """The run folder, and the lines it printed."""
    output, said = tmp_path_factory.mktemp("run") / "run", io.StringIO()
    with redirect_stdout(said):
        assert run(folder, output) == 0
    return output, said.getvalue().splitlines()


def rows(output):
    return [stable(row) for row in read(output / "metrics.jsonl")]


def test_it_is_said_once_and_recorded(finished):
    output, lines = finished
    fields = "trainer.global_batch_size is 15, trainer.eval_batch_size is 15, retrain.global_batch_size is 15"
    said = f"batches are cut to the images there are: {fields}"
    assert lines[1:3] == ["passed over: 1 of no split (notes.txt)", said]
    assert [line for line in lines if "cut" in line] == [said]
    dataset = json.loads((output / "result.json").read_text("utf-8"))["dataset"]
    assert (dataset["cut"], dataset["used"]["search"]) == (CUT, 15)
    assert dataset["passed_over"] == {"of no split": {"entries": 1, "first": ["notes.txt"]}}
    config = json.loads((output / "config.json").read_text("utf-8"))
    assert (config["trainer"]["global_batch_size"], config["trainer"]["eval_batch_size"]) == (32, 64)
    assert "Batches cut to it" in (output / "README.md").read_text("utf-8")


def test_a_stopped_run_goes_on_to_the_same_end(folder, finished, tmp_path, monkeypatch):
    step = SearchLoop.train_step

    def stopping(self, index):
        if self.progress.step == 1:
            self.context.stop.request("a test")
        return step(self, index)

    monkeypatch.setattr(SearchLoop, "train_step", stopping)
    assert run(folder, tmp_path / "run") == 75
    monkeypatch.undo()
    assert run(folder, tmp_path / "run", "--resume") == 0
    assert rows(finished[0]) == rows(tmp_path / "run")


def task_of(folder, **options):
    config = RunConfig.from_preset("nats_cl/smoke", "rsps")
    return ImageTask.load(replace(config, data=str(folder), **options))


def test_it_is_what_one_would_have_asked_for(folder):
    config = RunConfig.from_preset("nats_cl/smoke", "rsps")
    trainer, retrain = (
        replace(config.trainer, global_batch_size=15, eval_batch_size=15),
        replace(config.retrain, global_batch_size=15),
    )
    asked = ImageTask.load(replace(config, data=str(folder), trainer=trainer, retrain=retrain))
    assert (dict(asked.cut), dict(task_of(folder).cut)) == ({}, CUT)
    assert asked.config == task_of(folder).config


def test_only_what_a_run_uses_is_cut(folder):
    cell = "|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|"
    assert dict(task_of(folder, architecture=cell).cut) == {"retrain.global_batch_size": 15}
    assert dict(task_of("digits").cut) == {}


def test_more_processes_than_images_are_refused(folder):
    task = task_of(folder)
    task.check(15)
    with pytest.raises(
        UserError, match=r"global_batch_size must be at least the 16 processes, got 15: there are no more"
    ):
        task.check(16)
