"""Disks that are full, broken or read-only: code 5, one line, and the last good checkpoint as it was."""

import errno
import os
import random
import re
import resource
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from kill_points import undrawn
from launching import SAVING, Fault, Launched, launch, recipe
from outcome import outcome
from saving import newest, save

from cnas.errors import StorageError
from cnas.runs.folder import RunFolder
from cnas.training import checkpoint
from cnas.training.metrics_log import MetricsLog, read

CODES = ("ENOSPC", "EDQUOT", "EIO", "EFBIG", "EROFS")
EVENTS = ("file", "sync", "rename")
HALF = re.compile(r"\.begun-|\.tmp$|\.partial|\.old$|\.lock")
NOBODY = 65534


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(ended, run, before):
    """A run that a disk has refused ends with one line and code 5; no checkpoint has changed, nothing half is left."""
    assert ended.code == StorageError.exit_code, ended
    assert re.fullmatch(r"error: [^\n]+\n", ended.err), ended.err
    assert "Traceback" not in ended.out
    after = contents(run)
    assert not [name for name in after if HALF.search(Path(name).name)], sorted(after)
    kept = {name: data for name, data in before.items() if "checkpoints" in name}
    # Of two checkpoints the older one goes when a newer one is whole.
    steps = sorted({int(re.search(r"step-(\d+)", name)[1]) for name in kept})
    newest_kept = {name: data for name, data in kept.items() if f"step-{steps[-1]}/" in name} if steps else {}
    assert newest_kept.items() <= after.items() or newer(run, steps[-1])


def newer(run, step):
    """Whether a whole checkpoint later than ``step`` is there, of the search or of what comes after it."""
    found = [checkpoint.load_newest(phase) for phase in (run / "checkpoints").iterdir()]
    return len(found) > 1 or any(each is not None and each.step > step for each in found)


def limited(argv, home, size):
    """The recipe where no file may become larger than ``size`` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return recipe(argv, home)


def test_where_files_cannot_grow_a_run_ends_with_5_and_can_be_gone_on_with(home, finished, budget, measured):
    sizes = sorted({len(data) for data in contents(finished).values()})
    largest = sizes[-1]
    limits = [size - 1 for size in budget(sizes[len(sizes) // 3 :: 15][:2], sizes[4::2])]
    for number, limit in enumerate(limits):
        name = f"limited-{number}"
        ended = Launched(home / "output", limited, [*SAVING, "--output-dir", name], home, limit).wait()
        refused(ended, home / name, {})
    ended = launch(home, *SAVING, "--output-dir", name, "--resume").wait()
    assert (ended.code, outcome(home / name)) == (0, outcome(finished))
    count, least = len(limits), min(limits)
    measured(f"{count} of {count} limits, {least} to {largest} bytes a file: code 5, one line, no temporary file")


def test_errors_of_the_disk_at_any_write_end_with_5_and_lose_nothing(home, finished, budget, measured):
    draws, name = random.Random(8), "refusing"
    cases = [(event, code) for event in EVENTS for code in CODES]
    argv = [*SAVING, "--output-dir", name, "--resume"]
    chosen = budget(draws.sample(cases, 3), cases)
    seen = 0
    for event, code in chosen:
        before = contents(home / name) if (home / name).exists() else {}
        fault = Fault(event, draws.randint(2, 9), -getattr(errno, code))
        ended = Launched(home / "output", undrawn, argv, home, fault).wait()
        if ended.code == 0:
            shutil.rmtree(home / name)
            continue
        refused(ended, home / name, before)
        assert os.strerror(getattr(errno, code)) in ended.err, ended.err
        seen += 1
    assert seen >= len(chosen) - len(CODES)
    ended = Launched(home / "output", undrawn, argv, home).wait()
    assert ended.code == 0, ended
    assert outcome(home / name)["retrain"] == outcome(finished)["retrain"]
    measured(f"{seen} of {seen} refusals ({', '.join(CODES)}): code 5, the reason in one line; then equal to the bit")


@contextmanager
def read_only():
    """A folder with a run's files that this process may read and not write."""
    place = Path(tempfile.mkdtemp())
    try:
        save(place / "run" / "checkpoints", 1)
        MetricsLog(place / "run" / "metrics.jsonl").append({"epoch": 1})
        for path in (place / "run").rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        (place / "run").chmod(0o555)
        place.chmod(0o755)
        if os.geteuid() == 0:  # whom no permission keeps out
            os.seteuid(NOBODY)
        yield place / "run"
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        for path in (place / "run", *(place / "run").rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(place)


def test_a_folder_that_may_not_be_written_is_left_as_it_is(measured):
    with read_only() as run:
        before = contents(run)
        writes = {
            "a checkpoint": lambda: save(run / "checkpoints", 2),
            "a row": lambda: MetricsLog(run / "metrics.jsonl").append({"epoch": 2}),
            "a file": lambda: RunFolder(run).write_json("search.json", {}),
            "a new folder": lambda: RunFolder(run / "inner").write_json("search.json", {}),
        }
        for write in writes.values():
            with pytest.raises(StorageError, match="Permission denied"):
                write()
        assert contents(run) == before
        assert newest(run / "checkpoints").step == 1
        assert read(run / "metrics.jsonl") == [{"epoch": 1}]
    measured(f"{len(writes)} of {len(writes)} writes refused with code {StorageError.exit_code}, nothing changed")
