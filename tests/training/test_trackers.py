"""Trackers: what they stored is read back; one that does not start is one line; one that fails stops nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.tracking import GeneralTracker
from builders import build_session, build_trainer, rows
from launching import Fault, Launched, launch, launch_ranks, recipe

from cnas.curricula import Uncertainty
from cnas.errors import UserError
from cnas.training.metrics_log import read
from cnas.training.trackers import LONGEST_REASON, start_trackers


class Failing(GeneralTracker):
    """A tracker that fails in the calls it is told to, and counts all of them."""

    name, requires_logging_directory, tracker = "failing", False, "inside"

    def __init__(self, *failing):
        super().__init__()
        self.failing, self.calls = failing, []

    def _call(self, name):
        self.calls.append(name)
        if name in self.failing:
            raise ConnectionError(f"{name}: nobody\nlistens {'x' * 999}")

    def start(self):
        self._call("start")

    def store_init_configuration(self, values):
        self._call("config")

    def log(self, values, step=None, **kwargs):
        self._call("log")

    def finish(self):
        self._call("finish")


def trained(folder, *failing):
    """The tracker and the rows of a search that it follows."""
    tracker = Failing(*failing)
    context = build_session(folder, log_with=tracker)
    start_trackers(context.accelerator, folder, {"seed": 1}, resume=False)
    build_trainer(context, Uncertainty(num_candidates=2)).train()
    context.accelerator.end_training()
    return tracker, rows(folder)


def test_a_tracker_that_fails_later_is_told_once_and_changes_nothing(tmp_path, capsys):
    whole, expected = trained(tmp_path / "whole")
    assert "warning" not in capsys.readouterr().out
    failing, found = trained(tmp_path / "failing", "log", "finish")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert line.startswith("warning: tracker failing failed: ConnectionError: log: nobody listens xxx")
    assert line.endswith("the run goes on, and metrics.jsonl has every number")
    assert len(line) < LONGEST_REASON + 120
    assert found == expected
    assert len(found) == 3
    # It is asked again each time: what is away for an hour may come back.
    assert failing.calls == whole.calls == ["start", "config", *["log"] * 3, "finish"]


def test_a_started_tracker_is_found_by_its_name(tmp_path):
    context = build_session(tmp_path, log_with=Failing())
    start_trackers(context.accelerator, tmp_path, {}, resume=False)
    assert context.accelerator.get_tracker("failing", unwrap=True) == "inside"


@pytest.mark.parametrize("call", ["start", "config"])
def test_a_tracker_that_does_not_start_is_one_line_and_nothing_stays_open(tmp_path, call):
    first, second = Failing(), Failing(call)
    context = build_session(tmp_path, log_with=[first, second])
    with pytest.raises(UserError, match=r"^report_to 'failing, failing' did not start: ConnectionError: ") as caught:
        start_trackers(context.accelerator, tmp_path, {}, resume=False)
    assert "\n" not in str(caught.value)
    assert first.calls[-1] == second.calls[-1] == "finish"
    assert context.accelerator.trackers == []


def test_no_tracker_is_no_matter(tmp_path):
    context = build_session(tmp_path)
    start_trackers(context.accelerator, tmp_path, {}, resume=False)
    assert context.accelerator.trackers == []


def blocked(home, name):
    """A run folder in which TensorBoard cannot make its own, and the flags that lead there."""
    (home / name).mkdir()
    (home / name / "logs").write_text("a file where a folder should be", "utf-8")
    return ["--log-with", "tensorboard", "--output-dir", name, "--resume"]


def test_a_run_whose_tracker_does_not_start_has_trained_and_written_nothing(home):
    ended = launch(home, *blocked(home, "blocked")).wait()
    assert ended.code == 2
    assert ended.err.startswith("error: report_to 'tensorboard' did not start: ")
    assert ended.err.count("\n") == 1
    assert "epoch" not in ended.out
    assert [path.name for path in (home / "blocked").iterdir()] == ["logs"]


@pytest.mark.distributed
def test_every_process_learns_that_a_tracker_did_not_start(home):
    argv = blocked(home, "blocked-two")
    ends = [started.wait() for started in launch_ranks(home / "ranks", 2, recipe, argv, home)]
    assert [ended.code for ended in ends] == [2, 2]
    assert [ended.err.count("error: report_to") for ended in ends] == [1, 0]


def trackio(folder, *words):
    """What trackio's own command says about its store."""
    command = [str(Path(sys.executable).with_name("trackio")), *words, "--project", "cnas", "--json"]
    env = os.environ | {"TRACKIO_DIR": str(folder), "HF_HUB_OFFLINE": "1"}
    return json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)


def test_trackio_keeps_every_number_of_a_run_that_was_stopped_and_resumed(home, tmp_path):
    argv = ["--log-with", "trackio", "--output-dir", "watched"]
    env = {"TRACKIO_DIR": str(tmp_path / "store"), "HF_HUB_OFFLINE": "1"}
    stopping = Fault("step", 30, signal.SIGTERM)
    assert Launched(home / "output", recipe, argv, home, stopping, env=env).wait().code == 75
    ended = Launched(home / "output", recipe, [*argv, "--resume"], home, env=env).wait()
    assert (ended.code, ended.err) == (0, ""), ended

    assert trackio(tmp_path / "store", "list", "runs")["runs"] == ["watched"]
    told = trackio(tmp_path / "store", "get", "run", "--run", "watched")
    assert told["config"]["curriculum.num_candidates"] == 3
    assert told["config"]["data"] == "corpus"
    kept = read(home / "watched" / "metrics.jsonl")
    assert told["num_logs"] == len(kept) == 6
    for metric in ("search/valid_loss", "retrain/train_loss"):
        phase, key = metric.split("/")
        stored = trackio(tmp_path / "store", "get", "metric", "--run", "watched", "--metric", metric)["values"]
        assert [(value["step"], value["value"]) for value in stored] == [
            (row["step"], row[key]) for row in kept if row["phase"] == phase
        ]
