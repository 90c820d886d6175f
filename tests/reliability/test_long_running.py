"""A search that goes on and on: memory, open files and the time of a step stay what they were."""

import errno
import json
import math
import os
import shutil
import statistics
import time
from pathlib import Path

import pytest
from accelerate.tracking import GeneralTracker
from bombs import resident
from builders import build_session, build_trainer, rows
from launching import Fault, Launched, launch

from cnas.curricula import Uncertainty
from cnas.training.metrics_log import read
from cnas.training.trackers import start_trackers

SECONDS = 1200.0
"""Against hanging: 10,000 steps take a minute or two."""
PARTS = 10
"""Tenths of a run, of which the first warms up."""


class Failing(GeneralTracker):
    """A tracker that fails in the calls it is told to."""

    name, requires_logging_directory, tracker = "failing", False, "inside"

    def __init__(self, *failing):
        super().__init__()
        self.failing = failing

    def store_init_configuration(self, values):
        """It takes them."""

    def log(self, values, step=None, **kwargs):
        if "log" in self.failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    def finish(self):
        if "finish" in self.failing:
            raise ConnectionError("nobody listens")


class Watched:
    """Megabytes, open files and milliseconds a step, noted after each step of a search."""

    def __init__(self, steps):
        self.steps, self.done, self.begun = steps, 0, time.process_time()
        self.times, self.sizes, self.files = [], [], []

    def note(self):
        now = time.process_time()
        self.times.append(now - self.begun)
        self.begun, self.done = now, self.done + 1
        if self.done % (self.steps // (10 * PARTS)) == 0:
            self.sizes.append(resident())
            self.files.append(len([*Path("/proc/self/fd").iterdir()]))
            self.begun = time.process_time()

    def grown(self):
        """Share of the memory after the second tenth that the last one has more."""
        per = len(self.sizes) // PARTS
        return max(self.sizes[-per:]) / max(self.sizes[: 2 * per]) - 1

    def slowed(self):
        """The median step of the last tenth over that of the second."""
        per = len(self.times) // PARTS
        return statistics.median(self.times[-per:]) / statistics.median(self.times[per : 2 * per])


def search(folder, steps, leak=None):
    """A search of so many steps, checkpoints and scoring passes among them, with what it took in a file."""
    kept = []
    leaks = {"memory": lambda: kept.append(b"x" * 100_000), "files": lambda: kept.append(os.dup(0))}
    context = build_session(folder)
    trainer = build_trainer(context, Uncertainty(num_candidates=2), num_train_epochs=steps // 7, save_steps=50)
    assert len(trainer.batches) == 7
    seen, step = Watched(steps), trainer.train_step

    def noted(*given):
        result = step(*given)
        if leak is not None:
            leaks[leak]()
        seen.note()
        return result

    trainer.train_step = noted
    trainer.train()
    (folder / "seen.json").write_text(json.dumps(vars(seen)), "utf-8")
    return 0


def watched(folder, steps, leak=None):
    """The search in a process that has done nothing else."""
    ended = Launched(folder / "output", search, folder, steps, leak).wait(SECONDS)
    assert ended.code == 0, ended
    seen = Watched(steps)
    vars(seen).update(json.loads((folder / "seen.json").read_text("utf-8")))
    return seen


def check(seen, slower=math.inf):
    assert seen.done >= seen.steps - 7
    assert seen.grown() < 0.02, seen.sizes
    assert max(seen.files[len(seen.files) // PARTS :]) <= max(seen.files[: len(seen.files) // PARTS]), seen.files
    assert seen.slowed() < slower, (seen.slowed(), seen.steps)


def test_memory_files_and_steps_stay_what_they_were(tmp_path, budget, measured):
    seen = watched(tmp_path, budget(400, 10_010))
    # How long a step takes is only for the long version: few steps beside other work tell little of it.
    check(seen, budget(math.inf, 1.3))
    measured(
        f"{seen.done:,} steps: memory {100 * seen.grown():+.1f} %, {max(seen.files)} open files throughout, "
        f"a step takes {100 * (seen.slowed() - 1):+.0f} % at the end"
    )


@pytest.mark.parametrize("kind", ["memory", pytest.param("files", marks=pytest.mark.cross)])
def test_a_leak_is_found(tmp_path, kind):
    seen = watched(tmp_path, 400, kind)
    with pytest.raises(AssertionError):
        check(seen)


def test_a_tracker_that_fails_ends_nothing(tmp_path, capsys, measured):
    found = {}
    for name, failing in {"whole": (), "away": ("log",), "away at the end": ("log", "finish")}.items():
        context = build_session(tmp_path / name, log_with=Failing(*failing))
        start_trackers(context.accelerator, tmp_path / name, {}, resume=False)
        build_trainer(context, Uncertainty(num_candidates=2), num_train_epochs=6).train()
        context.accelerator.end_training()
        warnings = [line for line in capsys.readouterr().out.splitlines() if "warning: tracker" in line]
        assert len(warnings) == bool(failing)
        found[name] = rows(tmp_path / name)
    assert found["away"] == found["away at the end"] == found["whole"]
    assert len(found["whole"]) == 6
    measured(f"2 of 2: one warning each, all {len(found['whole'])} rows kept")


def test_a_trackers_disk_that_fails_ends_nothing(home, measured):
    """TensorBoard's folder is taken away in the middle."""
    argv = ["--log-with", "tensorboard", "--output-dir", "tracked"]
    running = launch(home, *argv)
    while not (home / "tracked" / "metrics.jsonl").exists() and running.process.is_alive():
        time.sleep(0.01)
    while (home / "tracked" / "logs").exists():
        shutil.rmtree(home / "tracked" / "logs", ignore_errors=True)
    ended = running.wait()
    # TensorBoard writes in a thread of its own, whose traceback is not ours to catch.
    assert ended.code == 0, ended
    assert ended.out.count("warning: tracker tensorboard failed") <= 1
    assert (home / "tracked" / "result.json").exists()
    assert len(read(home / "tracked" / "metrics.jsonl")) == 6
    measured("the search ends normally; 6 of 6 rows kept")


def test_a_failing_disk_under_the_run_folder_stops_the_run(home, measured):
    codes, events = (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT), ("row", "file", "sync", "json")
    for event in events:
        for code in codes:
            folder = f"{event}-{code}"
            ended = launch(home, "--output-dir", folder, fault=Fault(event, 1, number=-code)).wait()
            assert ended.code == 5, (folder, ended)
            assert ended.err.startswith("error: "), ended
            assert ended.err.count("\n") == 1, ended
            assert not (home / folder / "result.json").exists()
    measured(f"{len(codes) * len(events)} of {len(codes) * len(events)} end with 5 and one line")
