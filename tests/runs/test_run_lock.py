"""One folder, one process: who has the lock, that a dead process has none, and that two never both have it."""

import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launching import CONTEXT

from cnas.errors import StorageError, UserError
from cnas.runs.folder import refuse_links
from cnas.runs.lock import NAME, NOTE, holder, lock

ME = rf"process {os.getpid()} on \S+ since [\d-]+ [\d:]+"


@pytest.fixture(params=["a file system that locks", "one that does not"])
def home(request, tmp_path, monkeypatch):
    """A folder on either kind of file system."""
    if request.param == "one that does not":

        def flock(*_):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(fcntl, "flock", flock)
    return tmp_path


pytestmark = pytest.mark.filterwarnings("ignore:flock not supported")
LOCKS = """
import errno, fcntl, sys
from pathlib import Path

def flock(*_):
    raise OSError(errno.ENOSYS, "")

if sys.argv[2] == "without":
    fcntl.flock = flock
from cnas.runs.lock import lock
with lock(Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_there_while_the_context_lasts(home):
    assert holder(home) is None
    with lock(home):
        assert re.fullmatch(ME, holder(home))
    assert holder(home) is None
    assert [*home.iterdir()] == []


def test_the_process_that_has_a_lock_goes_on_with_it(home):
    with lock(home):
        with lock(home):
            assert re.fullmatch(ME, holder(home))
        assert re.fullmatch(ME, holder(home))
    assert [*home.iterdir()] == []


def test_a_lock_goes_when_the_work_fails(home):
    with pytest.raises(RuntimeError, match="work"), lock(home):
        raise RuntimeError("work")
    assert [*home.iterdir()] == []


def test_the_lock_of_a_process_is_respected_while_it_lives_and_stops_nobody_once_it_was_killed(home, capsys):
    how = "with" if fcntl.flock.__module__ == "fcntl" else "without"
    argv = [sys.executable, "-W", "ignore", "-c", LOCKS, str(home), how]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "\n"
        who = rf"process {other.pid} on \S+ since [\d-]+ [\d:]+"
        with pytest.raises(UserError, match=rf"running already, by {who}; if that is no more, delete {home / NAME}"):
            lock(home).__enter__()
        assert re.fullmatch(who, holder(home))
        other.kill()
    assert (home / NAME).exists()
    assert holder(home) is None
    with lock(home):
        assert re.fullmatch(ME, holder(home))
    assert re.fullmatch(rf"stale lock removed: {who} is no more\n", capsys.readouterr().out)
    assert [*home.iterdir()] == []


def test_the_lock_of_another_machine_is_respected_where_files_cannot_be_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSYS, "")))
    (tmp_path / NAME).write_text("1\nanother-machine\n")
    (tmp_path / NOTE).write_text("process 1 on another-machine since then")
    with pytest.raises(UserError, match="by process 1 on another-machine since then; if that is no more, delete"):
        lock(tmp_path).__enter__()
    (tmp_path / NAME).unlink()
    with lock(tmp_path):
        pass


@pytest.mark.parametrize("note", [None, "", "\x1b[2J" * 10_000, b"\xff\xfe"])
def test_a_lock_without_a_readable_note_is_respected(tmp_path, note):
    with lock(tmp_path):
        (tmp_path / NOTE).unlink()
        if note is not None:
            (tmp_path / NOTE).write_bytes(note if isinstance(note, bytes) else note.encode())
        assert len(holder(tmp_path)) <= 200


def test_a_lock_that_cannot_be_written_is_a_refusal_of_the_disk(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        lock(tmp_path / "file").__enter__()
    (tmp_path / NOTE).mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        lock(tmp_path).__enter__()
    assert holder(tmp_path) is None


def _try(folder, barrier, results):
    barrier.wait()
    try:
        with lock(folder):
            results.put((os.getpid(), time.monotonic()))
            time.sleep(0.3)
            results.put((os.getpid(), time.monotonic()))
    except UserError:
        pass


def test_of_many_that_try_at_once_over_a_stale_lock_never_two_have_it(tmp_path):
    (tmp_path / NAME).touch()
    (tmp_path / NOTE).write_text("process 0 on nowhere since then")
    barrier, results = CONTEXT.Barrier(4), CONTEXT.SimpleQueue()
    tries = [CONTEXT.Process(target=_try, args=(tmp_path, barrier, results)) for _ in range(4)]
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


def test_a_checkpoint_that_is_moved_while_one_looks_for_links_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "checkpoints" / "search" / "step-1").mkdir(parents=True)
    found = Path.is_symlink

    def moved(path):
        shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True)
        return found(path)

    monkeypatch.setattr(Path, "is_symlink", moved)
    refuse_links(tmp_path)
    assert not (tmp_path / "checkpoints").exists()
