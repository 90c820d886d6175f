"""Two runs in one folder: the second is refused, the first unharmed; a lock outlives no process."""

import os
import re
import signal
import socket
import subprocess
import time

import psutil
import pytest
from launching import SAVING, SECONDS, Fault, Launched, launch, launch_ranks, recipe
from outcome import outcome

from cnas.runs import lock as run_lock

NAME = run_lock.NAME


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wait_until(true, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def asleep(pid):
    """Whether the process has been halted."""
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def refused(home, name, pid):
    """A second run in the folder ends with one line that names the process at work, and changes nothing."""
    before = contents(home / name)
    ended = launch(home, *SAVING, "--output-dir", name, "--resume").wait()
    assert ended.code == 2, ended
    who = rf"process {pid} on {re.escape(socket.gethostname())} since [\d: -]+"
    assert re.fullmatch(rf"error: run {name} is running already, by {who}; if .* delete {name}/\.lock\n", ended.err)
    assert contents(home / name) == before


def test_a_second_run_in_a_folder_is_refused_and_the_first_unharmed(home, finished, measured):
    halted = Fault("step", 14, signal.SIGSTOP)
    first = launch(home, *SAVING, "--output-dir", "shared", fault=halted)
    wait_until(lambda: asleep(first.process.pid))
    refused(home, "shared", first.process.pid)
    os.kill(first.process.pid, signal.SIGCONT)
    assert first.wait().code == 0
    assert outcome(home / "shared") == outcome(finished)
    assert not (home / "shared" / NAME).exists()
    measured("the second: code 2, process and host named, nothing written; the first: equal to the bit")


@pytest.mark.distributed
def test_two_processes_of_a_second_run_both_learn_of_it(home, measured):
    (home / "pair").mkdir()
    argv = ("--output-dir", "pair", "--resume")
    with run_lock.lock(home / "pair"):
        before = contents(home / "pair")
        ended = [rank.wait() for rank in launch_ranks(home / "ranks", 2, recipe, argv, home)]
        assert contents(home / "pair") == before
    assert [rank.code for rank in ended] == [2, 2]
    assert re.fullmatch(rf"error: run pair is running already, by process {os.getpid()} .*\n", ended[0].err)
    assert ended[1].err == ""
    measured("codes 2 and 2, one line, nothing written")


def unlocked(argv, home):
    """The recipe with a bug: nobody locks."""
    import contextlib

    import cnas.runs.session

    cnas.runs.session.lock = lambda folder: contextlib.nullcontext()
    return recipe(argv, home)


def test_without_the_lock_two_runs_get_into_each_others_way(home, measured):
    argv = [*SAVING, "--output-dir", "unlocked", "--resume"]
    first = launch(home, *argv, fault=Fault("step", 14, signal.SIGSTOP))
    wait_until(lambda: asleep(first.process.pid))
    before = contents(home / "unlocked")
    second = Launched(home / "output", unlocked, argv, home).wait()
    first.process.kill()
    first.wait()
    assert second.code == 0
    # Without an assert on the bytes themselves, whose difference pytest would print for minutes.
    changed = contents(home / "unlocked") != before
    assert changed
    measured("found: the second writes into the folder of the first")


def test_of_many_that_start_at_once_one_does_the_work(home, finished, budget, measured):
    count = budget(2, 4)
    runs = [launch(home, *SAVING, "--output-dir", "rush", "--resume") for _ in range(count)]
    ended = [run.wait() for run in runs]
    codes = [each.code for each in ended]
    # One that comes when all is done says so and is content.
    assert set(codes) <= {0, 2}
    did = [each for each in ended if "search 1/3" in each.out]
    assert len(did) == 1
    assert all("is running already" in each.err for each in ended if each.code == 2)
    assert outcome(home / "rush") == outcome(finished)
    measured(f"1 of {count} did the work, equal to the bit; {codes.count(2)} refused")


def test_the_lock_of_a_killed_run_is_recognised(home, finished, measured):
    argv = [*SAVING, "--output-dir", "stale", "--resume"]
    killed = launch(home, *argv, fault=Fault("step", 14))
    assert killed.wait().code == -signal.SIGKILL
    assert (home / "stale" / run_lock.NOTE).read_text("utf-8").startswith(f"process {killed.process.pid} on ")
    ended = launch(home, *argv).wait()
    assert ended.code == 0, ended
    assert re.search(rf"^stale lock removed: process {killed.process.pid} on .* is no more$", ended.out, re.MULTILINE)
    assert outcome(home / "stale") == outcome(finished)
    measured("removed and named; equal to the bit")


def leaves_a_child(argv, home, file):
    """The recipe, which amid a step starts a process that takes over its open files, and is killed."""
    from cnas.training.loop import AccelerateLoop

    def step(self, *given):
        (lock,) = [each.fd for each in psutil.Process().open_files() if each.path.endswith(NAME)]
        child = subprocess.Popen(["sleep", "3000"], pass_fds=[lock])
        file.write_text(str(child.pid))
        os.kill(os.getpid(), signal.SIGKILL)

    AccelerateLoop.weight_step = step
    return recipe(argv, home)


def test_the_lock_of_a_killed_run_holds_while_a_process_it_started_lives(home, measured):
    argv, file = [*SAVING, "--output-dir", "orphan", "--resume"], home / "child.txt"
    run = Launched(home / "output", leaves_a_child, argv, home, file)
    run.process.join(SECONDS)
    child = int(file.read_text())
    try:
        refused(home, "orphan", run.process.pid)
    finally:
        os.kill(child, signal.SIGKILL)
    ended = launch(home, *argv, fault=Fault("step", 2)).wait()
    assert "stale lock removed" in ended.out
    measured("refused in one line while it lives, removed and named afterwards")
