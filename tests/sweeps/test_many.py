"""Many runs: done once, at most once at a time, resumed, stopped, and reported when they fail."""

import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import replace

import pytest
from finished_folders import finished_copy
from forked import Forked
from launching import SECONDS
from outcome import outcome

from cnas.errors import Stopped, UserError
from cnas.runs.folder import RunFolder
from cnas.runs.lock import holder, lock
from cnas.sweeps import Job, run_many
from cnas.sweeps.executors import settings
from cnas.sweeps.many import LOG, command
from cnas.training.context import StopSignal


def test_a_finished_run_is_skipped_and_its_folder_left_alone(finished, tiny, tmp_path, capsys):
    finished_copy(finished, tmp_path / "one", tiny)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run_many([Job("one", tiny)], tmp_path) == {"one": 0}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert capsys.readouterr().out == "1 of 1 runs are finished already\n"


def test_nothing_starts_where_a_folder_holds_another_run(finished, tiny, tmp_path):
    finished_copy(finished, tmp_path / "two", replace(tiny, trainer=replace(tiny.trainer, num_train_epochs=4)))
    with pytest.raises(UserError, match=r"another configuration: trainer\.num_train_epochs"):
        run_many([Job("one", tiny), Job("two", tiny)], tmp_path)
    assert not (tmp_path / "one").exists()


def older(folder, **changes):
    """Turn a folder's configuration into one of an earlier layout, which knew nothing of the retraining."""
    known = json.loads((folder / "config.json").read_text("utf-8"))
    del known["retrain"]
    (folder / "config.json").write_text(json.dumps(known | {"version": 0} | changes), "utf-8")


def test_a_finished_run_of_an_earlier_layout_counts_where_it_says_the_same(finished, tiny, tmp_path):
    finished_copy(finished, tmp_path / "one", tiny)
    older(tmp_path / "one")
    assert run_many([Job("one", tiny)], tmp_path) == {"one": 0}


@pytest.mark.parametrize("what", ["another seed", "a field nobody knows", "not finished"])
def test_any_other_run_of_an_earlier_layout_is_refused(what, finished, tiny, tmp_path):
    finished_copy(finished, tmp_path / "one", tiny)
    older(
        tmp_path / "one",
        **{"another seed": {"trainer": {"seed": 2}}, "a field nobody knows": {"unheard_of": 1}}.get(what, {}),
    )
    if what == "not finished":
        (tmp_path / "one" / "result.json").unlink()
    with pytest.raises(UserError, match="version must be"):
        run_many([Job("one", tiny)], tmp_path)


@pytest.mark.parametrize(("names", "at_once", "words"), [("aa", 1, "'a' twice"), ("ab", 0, "at least 1")])
def test_impossible_batches_are_refused(tiny, tmp_path, names, at_once, words):
    with pytest.raises(UserError, match=words):
        run_many([Job(name, tiny) for name in names], tmp_path, at_once=at_once)


def test_a_launcher_of_many_processes_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--jobs"):
        run_many([Job("a", tiny)], tmp_path)


def test_a_run_that_fails_is_named_and_the_others_go_on(tiny, tmp_path, capfd):
    bad = replace(tiny, retrain=replace(tiny.retrain, global_batch_size=99_999))
    jobs = [Job("bad", bad, "size 99999"), Job("good", tiny)]
    codes = run_many(jobs, tmp_path, at_once=2, executor=settings("local", {"threads": 1}))
    assert codes == {"bad": 2, "good": 0}
    out = capfd.readouterr().out
    assert "bad: started (1 of 2; size 99999)\n" in out
    assert "bad: failed with exit code 2: error: " in out
    assert "batch_size 99999" in out
    assert "good: finished after" in out
    assert json.loads((tmp_path / "good" / "result.json").read_text("utf-8"))["environment"]["threads"] == 1
    assert "preset tiny" in (tmp_path / "good" / LOG).read_text("utf-8")
    assert not [*tmp_path.rglob(".lock*")]


def saving(config, epochs):
    """The configuration with checkpoints amid its epochs."""
    return replace(
        config,
        trainer=replace(config.trainer, num_train_epochs=epochs, save_steps=5),
        retrain=replace(config.retrain, save_steps=5),
    )


def test_a_run_of_many_is_the_run_of_the_recipe(finished, tiny, tmp_path):
    assert run_many([Job("same", saving(tiny, 3))], tmp_path, executor=Forked()) == {"same": 0}
    assert outcome(tmp_path / "same") == outcome(finished)


def stop_this_process_when(path, pattern):
    """Send SIGTERM once something matches."""

    def wait():
        deadline = time.monotonic() + SECONDS
        while not [*path.glob(pattern)] and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def test_a_stop_reaches_the_runs_which_save_and_go_on(tiny, finished, tmp_path, capfd):
    jobs = [Job("later", tiny), Job("long", replace(tiny, trainer=replace(tiny.trainer, num_train_epochs=12)))]
    finished_copy(finished, tmp_path / "later", tiny)
    stop_this_process_when(tmp_path, "long/checkpoints/search/step-*")
    with pytest.raises(Stopped, match="stopped by SIGTERM; go on with the same command"):
        run_many(jobs, tmp_path, at_once=2, executor=Forked())
    assert "long: stopped\n" in capfd.readouterr().out
    log = tmp_path / "long" / LOG
    assert "error: stopped by SIGTERM at step" in log.read_text("utf-8")
    assert run_many(jobs, tmp_path, executor=Forked()) == {"later": 0, "long": 0}
    assert "resumed from step" in log.read_text("utf-8")
    assert json.loads((tmp_path / "long" / "result.json").read_text("utf-8"))["search"]["epochs"] == 12


def test_when_the_time_is_over_the_runs_save_and_nothing_more_is_started(tiny, tmp_path, capfd):
    stop = StopSignal("9h")

    class UntilSaved(Forked):
        """The time is over once the first run has a checkpoint."""

        def start(self, command, log):
            started = super().start(command, log)
            while started.code() is None and not [*log.parent.glob("checkpoints/search/step-*")]:
                time.sleep(0.02)
            stop.deadline = 0
            return started

    long = replace(tiny, trainer=replace(tiny.trainer, num_train_epochs=200))
    jobs = [Job("long", long), Job("later", tiny)]
    with pytest.raises(Stopped, match=r"^stopped by --stop-after 9h; go on with the same command$"):
        run_many(jobs, tmp_path, executor=UntilSaved(), stop=stop)
    assert "long: stopped\n" in capfd.readouterr().out
    assert "error: stopped by SIGTERM at step" in (tmp_path / "long" / LOG).read_text("utf-8")
    assert not (tmp_path / "later").exists()


def test_a_run_in_work_elsewhere_is_left_to_who_has_it(tiny, tmp_path, capsys):
    (tmp_path / "one").mkdir()
    with lock(tmp_path / "one"):
        who = holder(tmp_path / "one")
        assert run_many([Job("one", tiny)], tmp_path, executor=Forked()) == {"one": 75}
    assert capsys.readouterr().out == f"one: running elsewhere, by {who}\n"
    assert [*(tmp_path / "one").iterdir()] == []


class TakenMeanwhile(Forked):
    """Before a process starts, somebody else takes its folder."""

    def start(self, command, log):
        self.taken = lock(log.parent)
        self.taken.__enter__()
        return super().start(command, log)


def test_a_run_that_is_taken_at_the_last_moment_is_not_run_twice(tiny, tmp_path, capfd):
    executor = TakenMeanwhile()
    assert run_many([Job("one", tiny)], tmp_path, executor=executor) == {"one": 2}
    executor.taken.__exit__(None, None, None)
    assert "one: failed with exit code 2: error: run " in capfd.readouterr().out
    assert "running already, by process" in (tmp_path / "one" / LOG).read_text("utf-8")
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"config.json", LOG}


class StoppedFromOutside(Forked):
    """Whatever starts here is asked to stop by somebody else."""

    def start(self, command, log):
        started = super().start(command, log)
        while not [*log.parent.glob("checkpoints/search/step-*")]:
            time.sleep(0.02)
        started.stop()
        return started


def test_a_run_that_somebody_else_stops_is_to_be_gone_on_with(tiny, tmp_path, capsys):
    long = replace(tiny, trainer=replace(tiny.trainer, num_train_epochs=200))
    assert run_many([Job("long", long)], tmp_path, executor=StoppedFromOutside()) == {"long": 75}
    assert "long: stopped by somebody else; the same command goes on with it\n" in capsys.readouterr().out


class FailsAtTheVeryEnd(Forked):
    """What starts here is lost by its engine after all is done."""

    def start(self, command, log):
        super().start(command, log).process.join()
        return self

    def code(self):
        return 1


def test_the_folder_says_whether_a_run_is_finished_and_not_the_engine(tiny, tmp_path, capsys):
    given = replace(tiny, architecture="0 1 1 2")
    assert run_many([Job("one", given)], tmp_path, executor=FailsAtTheVeryEnd()) == {"one": 0}
    assert "one: finished after" in capsys.readouterr().out


def test_a_run_saves_and_ends_when_nobody_is_left_who_waits_for_it(tiny, tmp_path):
    home = RunFolder(tmp_path / "left")
    home.start(replace(tiny, trainer=replace(tiny.trainer, num_train_epochs=2000)))
    log = home.path / LOG
    with log.open("w") as output:
        process = subprocess.Popen(command(home.path), stdin=subprocess.PIPE, stdout=output, stderr=output)
    deadline = time.monotonic() + SECONDS
    while not [*home.path.glob("checkpoints/search/step-*")] and time.monotonic() < deadline:
        time.sleep(0.05)
    process.stdin.close()
    assert process.wait(SECONDS) == 75
    assert "error: stopped by SIGTERM at step" in log.read_text("utf-8")
    assert not (home.path / ".lock").exists()
