"""One folder, one process: who holds it, when a lock is stale, and that two never both have it."""

import fcntl
import json
import os
import subprocess
import time
from dataclasses import asdict, replace

import psutil
import pytest
from launching import CONTEXT

from cnas.runs import lock as run_lock
from cnas.errors import StorageError, UserError
from cnas.runs.lock import NAME, Holder, held, holder


def put(folder, found):
    (folder / NAME).write_text(json.dumps(asdict(found)), "utf-8")


def dead():
    """A process of this machine that has been and is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return replace(Holder.here(), pid=process.pid, started=time.time())


def test_a_lock_is_there_while_the_context_lasts(tmp_path):
    assert holder(tmp_path) is None
    with held(tmp_path):
        assert holder(tmp_path) == Holder.here()
        assert not holder(tmp_path).gone
    assert [*tmp_path.iterdir()] == []


def test_the_process_that_has_a_lock_goes_on_with_it(tmp_path):
    with held(tmp_path):
        with held(tmp_path):
            assert holder(tmp_path) == Holder.here()
        assert holder(tmp_path) == Holder.here()
    assert [*tmp_path.iterdir()] == []


def test_a_lock_that_a_living_process_holds_open_is_not_stale_whatever_it_says(tmp_path):
    put(tmp_path, gone := dead())
    with (tmp_path / NAME).open("rb") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=f"running already, by process {gone.pid} "):
            held(tmp_path).__enter__()
        assert holder(tmp_path) == gone
    with held(tmp_path):
        assert holder(tmp_path) == Holder.here()
    assert [*tmp_path.iterdir()] == []


def test_a_lock_goes_when_the_work_fails(tmp_path):
    with pytest.raises(RuntimeError, match="work"), held(tmp_path):
        raise RuntimeError("work")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "change",
    [
        {"pid": os.getppid(), "started": psutil.Process(os.getppid()).create_time()},
        {"host": "elsewhere", "pid": 1, "started": 0.0},
    ],
    ids=["of this machine", "of another machine, where nobody can look"],
)
def test_the_lock_of_a_living_process_is_respected_and_named(tmp_path, change):
    other = replace(Holder.here(), **change)
    put(tmp_path, other)
    with pytest.raises(UserError, match=rf"running already, by process {other.pid} on {other.host} since .*delete"):
        held(tmp_path).__enter__()
    assert holder(tmp_path) == other


def test_the_lock_of_a_dead_process_is_removed_and_named(tmp_path, capsys):
    gone = dead()
    put(tmp_path, gone)
    assert gone.gone
    with held(tmp_path):
        assert holder(tmp_path) == Holder.here()
    assert capsys.readouterr().out == f"stale lock removed: {gone} is no more\n"
    assert [*tmp_path.iterdir()] == []


def test_a_later_process_of_the_same_number_is_another_one(tmp_path):
    put(tmp_path, replace(Holder.here(), started=Holder.here().started - 3600))
    assert holder(tmp_path).gone


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "a"}', '{"host": "a", "pid": "x", "started": 1}'])
def test_a_lock_that_cannot_be_read_is_respected(tmp_path, text):
    (tmp_path / NAME).write_text(text, "utf-8")
    with pytest.raises(UserError, match="by a process that has not said its name"):
        held(tmp_path).__enter__()


def test_only_one_clears_a_stale_lock(tmp_path):
    put(tmp_path, dead())
    (tmp_path / f"{NAME}.guard").touch()
    with pytest.raises(UserError, match=r"another process is clearing its stale lock.*\.lock\.guard"):
        held(tmp_path).__enter__()
    assert holder(tmp_path).gone


def test_what_was_taken_meanwhile_is_not_cleared(tmp_path):
    put(tmp_path, Holder.here())
    run_lock._clear(tmp_path, dead())
    assert holder(tmp_path) == Holder.here()


def test_a_folder_that_is_not_there_cannot_be_locked(tmp_path):
    with pytest.raises(StorageError, match="cannot write"):
        held(tmp_path / "nowhere").__enter__()


def _try(folder, collective_errors, results):
    collective_errors.wait()
    try:
        with held(folder):
            results.put((os.getpid(), time.monotonic()))
            time.sleep(0.3)
            results.put((os.getpid(), time.monotonic()))
    except UserError:
        pass


def test_of_many_that_try_at_once_over_a_stale_lock_never_two_have_it(tmp_path):
    put(tmp_path, dead())
    collective_errors, results = CONTEXT.Barrier(4), CONTEXT.SimpleQueue()
    tries = [CONTEXT.Process(target=_try, args=(tmp_path, collective_errors, results)) for _ in range(4)]
    for each in tries:
        each.start()
    for each in tries:
        each.join()
        assert each.exitcode == 0
    events = []
    while not results.empty():
        events.append(results.get())
    assert events
    # In the order of time, whoever came in goes out before the next one comes in.
    who = [pid for pid, _ in sorted(events, key=lambda event: event[1])]
    assert who[::2] == who[1::2]
    assert [*tmp_path.iterdir()] == []
