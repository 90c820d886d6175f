"""Executors: found by their place, checked before anything starts, and all of them bring a run to the same end."""

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from finished_folders import finished_copy
from forked import Forked
from launching import SECONDS
from outcome import outcome

from cnas.errors import UserError
from cnas.sweeps import Job, executors, read_grid, run_many
from cnas.sweeps.executors._supervise import make_supervisor
from cnas.sweeps.executors.local import free_gb
from cnas.sweeps.many import LOG

PATIENCE = 2 * SECONDS
"""A cluster takes its time to come and to go."""
TESTS = Path(__file__).parents[1]


def test_an_executor_is_a_file_with_settings():
    assert executors.names() == ["local", "ray", "slurm"]
    assert [executors.settings(name).AT_ONCE for name in executors.names()] == [1, None, None]


BAD = {
    ("cloud", None): "executor must be one of local, ray, slurm, got 'cloud'",
    ("local", "threads"): "local must be a mapping of settings, got 'threads'",
    ("local", ("thread", 1)): "local.thread is not a field, got 1; allowed: threads, memory_gb",
    ("local", ("threads", "two")): "local.threads must be an integer or none, got 'two'",
    ("local", ("threads", 0)): "local.threads must be at least 1, got 0",
    ("local", ("memory_gb", 0)): "local.memory_gb must be above 0, got 0",
    ("local", ("memory_gb", "inf")): "local.memory_gb must be a finite number or none, got 'inf'",
    ("ray", ("gpus", -0.5)): "ray.gpus must be at least 0, got -0.5",
    ("slurm", ("minutes", 0)): "slurm.minutes must be at least 1, got 0",
    ("slurm", ("partition", 3)): "slurm.partition must be a text or none, got 3",
}


@pytest.mark.parametrize(("name", "given"), BAD)
def test_a_wrong_setting_is_named(name, given):
    with pytest.raises(UserError) as caught:
        executors.settings(name, dict([given]) if isinstance(given, tuple) else given)
    assert BAD[name, given] in str(caught.value)


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_executor_that_is_not_installed_says_where_it_comes_from(name, package, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with pytest.raises(
        UserError, match=re.escape(f"executor {name} is not installed; it comes with pip install cnas[")
    ):
        run_many([Job("one", tiny)], tmp_path, executor=executors.settings(name))
    assert [*tmp_path.iterdir()] == []


def test_threads_are_shared_unless_somebody_says_how_many(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    def threads(at_once, **given):
        return executors.settings("local", given).environment(at_once)["OMP_NUM_THREADS"]

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads(1), threads(3), threads(99), threads(2, threads=5)] == ["8", "2", "1", "5"]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [threads(1), threads(2, threads=5)] == ["3", "5"]


def test_the_cores_are_shared_among_compilers_too(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    name, local = "TORCHINDUCTOR_COMPILE_THREADS", executors.settings("local", {"threads": 1})
    monkeypatch.delenv(name, raising=False)
    assert [local.environment(at_once)[name] for at_once in (1, 3, 99)] == ["8", "2", "1"]
    monkeypatch.setenv(name, "5")
    assert local.environment(4)[name] == "5"


@pytest.fixture
def ten_gb(monkeypatch):
    """An accelerator of which 10 GB are free; returns how often somebody has asked."""
    asked = []
    monkeypatch.setattr("cnas.sweeps.executors.local.free_gb", lambda: asked.append(1) or 10.0)
    return asked


def test_more_jobs_than_the_memory_holds_are_refused_before_one_starts(ten_gb, tiny, tmp_path):
    jobs = [Job(name, replace(tiny, trainer=replace(tiny.trainer, seed=seed))) for seed, name in enumerate("abc")]
    words = "--jobs must be at most 2: 3 runs at a time need 3 x 4.0 GB of the accelerator, and 10.0 GB are free "
    with pytest.raises(UserError, match=f"^{re.escape(words)}"):
        run_many(jobs, tmp_path / "runs", at_once=3, executor=executors.settings("local", {"memory_gb": 4}))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("memory", "at_once", "waiting", "fits"),
    [(4, 2, 9, True), (5, 2, 2, True), (4, 9, 2, True), (5.1, 2, 2, False), (99, 1, 9, True), (None, 9, 9, True)],
)
def test_as_many_jobs_as_there_are_must_fit(ten_gb, tmp_path, memory, at_once, waiting, fits):
    def opened():
        with executors.settings("local", {"memory_gb": memory}).open(tmp_path, at_once, waiting):
            return True

    if fits:
        assert opened()
    else:
        with pytest.raises(UserError, match="--jobs must be at most 1: "):
            opened()


def test_where_nobody_says_a_run_needs_the_most_that_a_finished_one_has_held(ten_gb, finished, tiny, tmp_path):
    for name, peak in {"small": 1.5, "large": 4.25, "on the processor": None}.items():
        finished_copy(finished, tmp_path / name, tiny, **({} if peak is None else {"peak_memory_gb": peak}))
    local = executors.settings("local")
    local.check_memory(tmp_path, 2)
    with pytest.raises(UserError, match=r"at most 2: 3 runs at a time need 3 x 4\.2 GB"):
        local.check_memory(tmp_path, 3)
    executors.settings("local", {"memory_gb": 2}).check_memory(tmp_path, 5)
    local.check_memory(tmp_path / "elsewhere", 99)
    assert len(ten_gb) == 3, "who needs to know nothing does not ask"


def test_without_an_accelerator_there_is_room(monkeypatch):
    assert free_gb() == math.inf
    # One that does not say what is free.
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    assert free_gb() == math.inf


def test_what_an_accelerator_says_is_free_counts(monkeypatch):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.setattr("cnas.sweeps.executors.local.FREE", "print(3e9 / 1e9)")
    assert free_gb() == 3


def sweep(file, home, *argv):
    """``cnas sweep`` in a process of its own, where any warning is an error."""
    words = [sys.executable, "-W", "error", "-m", "cnas", "sweep", str(file), "--output-dir", str(home), *argv]
    # The preset of the tests is found there, by an entry point.
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def wait_for(process, *paths):
    """Until all of them are there, or the process ends."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline and not all(path.exists() for path in paths):
        time.sleep(0.1)


SAVING = {"trainer.save_steps": 5, "retrain.save_steps": 5}


class UntilResumed(Forked):
    """Whatever starts here is stopped once it goes on from a checkpoint."""

    def start(self, command, log):
        started = super().start(command, log)
        while started.code() is None and "resumed from step" not in log.read_text("utf-8"):
            time.sleep(0.02)
        started.stop()
        return started


@pytest.mark.cluster
@pytest.mark.parametrize("name", [pytest.param("ray", marks=pytest.mark.cross), "slurm"])
def test_a_cluster_runs_stops_and_leaves_runs_to_any_other_executor(name, grid_file, tmp_path, finished):
    file = grid_file(
        flags=SAVING, grid={"trainer.num_train_epochs": [3, 9999]}, slurm={"cluster": "local", "minutes": 60}
    )
    short, long = [job.name for job in read_grid(file).jobs]
    home = tmp_path / "runs"
    process = sweep(file, home, "--executor", name)
    wait_for(process, home / short / "result.json", home / long / "checkpoints" / "search")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 75, (out, err)
    assert err.splitlines()[-1] == "error: stopped by SIGTERM; go on with the same command"
    assert f"{short}: finished after" in out
    assert f"{long}: stopped\n" in out
    assert outcome(home / short) == outcome(finished)
    assert "error: stopped by SIGTERM at step" in (home / long / LOG).read_text("utf-8")
    assert not [*home.rglob(".lock*")]
    assert run_many(read_grid(file).jobs, home, executor=UntilResumed()) == {short: 0, long: 75}


def test_an_engine_gets_a_function_that_needs_nothing_of_the_package(tmp_path):
    supervise = make_supervisor()
    assert "cnas" not in set(supervise.__code__.co_names) | set(supervise.__code__.co_freevars)
    code = "import os, sys; print(os.getcwd(), os.getsid(0) == os.getpid()); sys.exit(7)"
    assert supervise([sys.executable, "-c", code], str(tmp_path / "log"), str(tmp_path)) == 7
    assert (tmp_path / "log").read_text("utf-8") == f"{tmp_path} True\n"


def test_an_interrupted_worker_asks_its_process_to_stop(tmp_path):
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); print('on', flush=True)"
    log = tmp_path / "log"

    def interrupt():
        while not log.exists() or log.read_text("utf-8") != "on\n":
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert make_supervisor()([sys.executable, "-c", f"{code}\ntime.sleep(60)"], str(log), str(tmp_path)) == 75


@pytest.mark.parametrize(
    ("given", "words"), [({"cluster": "moon"}, "slurm.cluster moon: "), ({}, "slurm.cluster slurm: ")]
)
def test_a_queue_that_cannot_be_had_is_named(given, words, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=re.escape(words)):
        run_many([Job("one", tiny)], tmp_path / "runs", executor=executors.settings("slurm", given))


@pytest.mark.cluster
@pytest.mark.cross
def test_a_cluster_that_is_not_there_is_named(grid_file, tmp_path):
    file = grid_file(ray={"address": "auto"})
    process = sweep(file, tmp_path / "runs", "--executor", "ray")
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, (out, err)
    assert err.splitlines()[-1].startswith("error: ray.address auto: Could not find any running Ray instance")
    assert not (tmp_path / "runs").exists()
