"""A run that is killed or stopped at any moment, and resumed, is the run that never was."""

import errno
import json
import re
import shutil
import signal
import time

import pytest
import tiny_recipe
from launching import NAN, SAVING, Fault, launch
from outcome import outcome, saved

from cnas.training.metrics_log import read

# Each attempt resumes the one before it: 3 epochs of 11 steps of the search, then 3 of 16 of the retraining.
KILLS = [
    ("amid the first epoch, before any checkpoint", Fault("step", 3)),
    ("amid the first epoch, after a checkpoint", Fault("step", 8)),
    ("between an epoch's row and its checkpoint", Fault("row", 1, after=True)),
    ("right after a checkpoint", Fault("save", 2, after=True)),
    ("while the controller learns", Fault("reward", 2)),
    ("while the judges score", Fault("judging", 11)),
    ("before the epoch's row", Fault("row", 1)),
    ("before the architecture is written", Fault("json", 1)),
    ("right after it is written", Fault("json", 1, after=True)),
    ("between the retraining's first row and its first checkpoint of an epoch", Fault("row", 1, after=True)),
    ("amid the retraining", Fault("step", 20)),
    ("before the model is written", Fault("export", 1)),
    ("before the result is written", Fault("json", 1)),
]
STOPS = [
    ("search", Fault("step", 3, signal.SIGTERM)),
    ("search", Fault("reward", 2, signal.SIGINT)),
    ("search", Fault("judging", 9, signal.SIGTERM)),
    ("retrain", Fault("step", 40, signal.SIGINT)),
]


def test_killed_again_and_again_and_resumed_equals_the_uninterrupted_run(home, finished):
    for moment, fault in KILLS:
        ended = launch(home, *SAVING, "--output-dir", "killed", "--resume", fault=fault).wait()
        assert ended.code == -signal.SIGKILL, (moment, ended)
        assert not (home / "killed" / "result.json").exists(), moment
        assert ended.err == "", (moment, ended)
    ended = launch(home, *SAVING, "--output-dir", "killed", "--resume").wait()
    assert ended.code == 0, ended
    assert "resumed from step 48 of the retrain" in ended.out
    assert outcome(home / "killed") == outcome(finished)


def test_a_kill_before_the_retrainings_first_checkpoint_leaves_no_row_twice(home):
    flags = ("--output-dir", "rows")
    for phase, fault in [("search", Fault("row", 1, after=True)), ("retrain", Fault("row", 4, after=True))]:
        ended = launch(home, *flags, "--resume", fault=fault).wait()
        assert ended.code == -signal.SIGKILL, ended
        assert saved(home / "rows" / "checkpoints" / phase)["step"] == 0
        assert read(home / "rows" / "metrics.jsonl")[-1]["phase"] == phase
    assert launch(home, *flags, "--resume").wait().code == 0
    epochs = [(row["phase"], row["epoch"]) for row in read(home / "rows" / "metrics.jsonl")]
    assert epochs == [(phase, epoch) for phase in ("search", "retrain") for epoch in (1, 2, 3)]


def test_killed_from_outside_at_a_moment_nobody_chose(home, finished):
    run = launch(home, *SAVING, "--output-dir", "outside")
    rows = home / "outside" / "metrics.jsonl"
    while run.process.is_alive() and not (rows.exists() and rows.read_bytes().count(b"\n") >= 2):
        time.sleep(0.002)
    run.process.kill()
    ended = run.wait()
    assert ended.code == -signal.SIGKILL, ended
    ended = launch(home, *SAVING, "--output-dir", "outside", "--resume").wait()
    assert ended.code == 0, ended
    assert re.search(r"^resumed from step \d+ of the", ended.out, re.MULTILINE)
    assert outcome(home / "outside") == outcome(finished)


def test_a_signal_ends_with_75_and_a_resume_goes_on_exactly_there(home, finished):
    stopped_at = None
    for phase, fault in STOPS:
        ended = launch(home, *SAVING, "--output-dir", "stopped", "--resume", fault=fault).wait()
        assert ended.code == 75, ended
        name = signal.Signals(fault.number).name
        message = re.fullmatch(rf"error: stopped by {name} at step (\d+) of the {phase}; .*--resume\n", ended.err)
        assert message, ended.err
        if stopped_at is not None:
            assert f"resumed from step {stopped_at} of the" in ended.out
        stopped_at = message[1]
    ended = launch(home, *SAVING, "--output-dir", "stopped", "--resume").wait()
    assert (ended.code, ended.err) == (0, "")
    assert f"resumed from step {stopped_at} of the retrain" in ended.out
    assert outcome(home / "stopped") == outcome(finished)


@pytest.mark.parametrize("prepared", [False, True])
def test_nothing_to_resume_is_said_and_begins_at_the_beginning(home, prepared):
    folder = f"fresh-{prepared}"
    if prepared:
        (home / folder).mkdir()
    ended = launch(home, "--output-dir", folder, "--resume", fault=Fault("step", 2)).wait()
    lines = ended.out.splitlines()
    assert lines[1] == f"nothing to resume in {folder}: starting from the beginning"
    assert lines[2].startswith("tokens in use: search 600 of ")
    assert lines[3].startswith("search: 3 epochs of 11 steps")
    assert "resumed" not in ended.out


def test_a_finished_run_is_left_alone(home, finished):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    for _ in range(2):
        ended = launch(home, *SAVING, "--output-dir", "finished", "--resume").wait()
        assert (ended.code, ended.err) == (0, "")
        assert any("finished" in line for line in ended.out.splitlines()[1:])
        assert "perplexity" in ended.out
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


@pytest.fixture(scope="module")
def killed_search(home):
    """A folder with the checkpoints of the steps 10 and 11, and of the start of the first epoch."""
    ended = launch(home, *SAVING, "--output-dir", "broken", fault=Fault("step", 14)).wait()
    assert ended.code == -signal.SIGKILL
    names = {path.name for path in (home / "broken" / "checkpoints" / "search").iterdir()}
    assert names == {"step-0", "step-10", "step-11"}
    return home / "broken"


def truncate(folder):
    data = (folder / "state.safetensors").read_bytes()
    (folder / "state.safetensors").write_bytes(data[: len(data) // 2])


def flip(folder):
    data = bytearray((folder / "trainer.json").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "trainer.json").write_bytes(bytes(data))


def lose(folder):
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize("damage", [truncate, flip, lose])
def test_a_broken_checkpoint_is_named_and_the_one_before_it_used(home, finished, killed_search, damage):
    folder = home / f"broken-{damage.__name__}"
    shutil.copytree(killed_search, folder)
    damage(folder / "checkpoints" / "search" / "step-11")
    # The end of one run is enough; the other two stop where their search goes on.
    fault = None if damage is truncate else Fault("step", 5)
    ended = launch(home, *SAVING, "--output-dir", folder.name, "--resume", fault=fault).wait()
    assert re.search(r"^warning: skipped .*step-11: \S+", ended.out, re.MULTILINE), ended
    assert "resumed from step 10 of the search" in ended.out
    if fault is None:
        assert outcome(folder) == outcome(finished)


def test_no_whole_checkpoint_ends_with_3(home, killed_search):
    folder = home / "all-broken"
    shutil.copytree(killed_search, folder)
    for step in (0, 10, 11):
        truncate(folder / "checkpoints" / "search" / f"step-{step}")
    ended = launch(home, *SAVING, "--output-dir", folder.name, "--resume").wait()
    assert ended.code == 3
    assert re.fullmatch(r"error: .*step-11.*step-10.*step-0.*\n", ended.err), ended.err


def test_data_that_has_changed_is_no_data_to_go_on_with(home, killed_search, finished):
    changed = home / "other_data"
    shutil.copytree(home / "corpus", changed / "corpus")
    (changed / "corpus" / "test.txt").write_text("w1 w2 w3\n" * 40, "utf-8")
    shutil.copytree(killed_search, changed / "searching")
    shutil.copytree(finished, changed / "searched")
    (changed / "searched" / "result.json").unlink()
    for folder in ("searching", "searched"):
        ended = launch(changed, *SAVING, "--output-dir", folder, "--resume").wait()
        assert ended.code == 2, ended
        told = r"error: .*'corpus' with the fingerprint [0-9a-f]{16} there, 'corpus' with [0-9a-f]{16} here; .*\n"
        assert re.fullmatch(told, ended.err), ended.err


def test_a_full_disk_during_the_export_ends_with_5(home, finished, monkeypatch, capsys):
    shutil.copytree(finished, home / "full")
    (home / "full" / "result.json").unlink()
    monkeypatch.chdir(home)

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cnas.hub.artifacts.save_pictures", refuse)
    flags = [*SAVING, "--output-dir", "full", "--resume"]
    assert tiny_recipe.main(flags) == 5
    out, err = capsys.readouterr()
    assert "the search is finished" in out
    assert re.fullmatch(r"error: cannot write .*No space left on device\n", err), err


def test_numbers_that_stay_not_finite_end_with_4_and_the_last_checkpoint_stays(home):
    huge = ("--trainer.learning-rate", "1e30", "--trainer.max-grad-norm", "1e30")
    ended = launch(home, *huge, "--output-dir", "infinite").wait()
    assert ended.code == 4
    said = r"error: \d+ bad steps in a row up to step \d+ of the search; going back 5 times, .* did not help; "
    assert re.fullmatch(rf"{said}.*is kept\)\n", ended.err)
    assert saved(home / "infinite" / "checkpoints" / "search")["state"]["trouble"]["factor"] == 1 / 32


def test_weights_that_become_nan_are_gone_back_from(home):
    ended = launch(home, "--output-dir", "nan", *SAVING, fault=Fault("step", 8, NAN)).wait()
    assert (ended.code, ended.err) == (0, "")
    (warning,) = re.findall("^warning: .*", ended.out, re.MULTILINE)
    # Of the first epoch 4 steps are bad, too few; of the second all are, which is laid to the first.
    expected = "warning: 9 bad steps in a row up to step 16 of the search; back to the start of epoch 1, "
    assert warning == f"{expected}learning rate times 0.5"
    figures = json.loads((home / "nan" / "result.json").read_text("utf-8"))
    assert (figures["search"]["bad_steps"], figures["search"]["recoveries"]) == (9, 1)
    assert (figures["retrain"]["bad_steps"], figures["retrain"]["recoveries"]) == (0, 0)
    assert [row["bad_steps"] for row in read(home / "nan" / "metrics.jsonl")] == [9, 0, 0, 0, 0, 0]
    card = (home / "nan" / "README.md").read_text("utf-8")
    assert "In the search 9 bad steps updated nothing, and it went back to the start of an epoch 1 time(s)" in card
    report = (home / "nan" / "report.html").read_text("utf-8")
    assert "Search, bad steps" in report
    assert "Training, bad steps" not in report
