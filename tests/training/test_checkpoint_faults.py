"""Damaged files, kills at every point of a save, and disks that refuse."""

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cnas import durable
from cnas.errors import CheckpointError, StorageError
from cnas.training import checkpoint
from cnas.training.checkpoint import MANIFEST, STATE, TRAINER, load_newest, save

HASH = "0123abcd"


def save_example(root: Path, step: int, keep: int = 2) -> Path:
    state = {"weights": torch.full((4,), float(step)), "optimizer": {0: {"step": step, "lr": 0.1}}}
    return save(root, step, state, config_hash=HASH, keep=keep)


def newest_step(root: Path) -> int:
    """The step of the newest whole checkpoint, whose state must be that step's."""
    loaded = load_newest(root, config_hash=HASH)
    assert loaded is not None
    assert loaded.state["weights"].tolist() == [loaded.step] * 4
    assert loaded.state["optimizer"] == {0: {"step": loaded.step, "lr": 0.1}}
    return loaded.step


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


# Damage


@pytest.mark.parametrize("name", [STATE, TRAINER, MANIFEST])
def test_every_truncation_and_every_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    path, draws = save_example(tmp_path, 1) / name, random.Random(name)
    whole = path.read_bytes()
    damaged = [whole[: draws.randrange(len(whole))] for _ in range(20)] + [b"", whole + b"\0"]
    for _ in range(100):
        flipped = bytearray(whole)
        flipped[draws.randrange(len(whole))] ^= 1 << draws.randrange(8)
        damaged.append(bytes(flipped))
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=name):
            load_newest(tmp_path, config_hash=HASH)
    path.write_bytes(whole)
    assert newest_step(tmp_path) == 1


def test_hostile_manifests_are_broken_not_fatal(tmp_path: Path) -> None:
    path = save_example(tmp_path, 1) / MANIFEST
    for text in ("[]", "null", "{}", '{"seal": 1}', "[" * 100_000, "1" * 5000, '{"format": NaN, "seal": ""}'):
        path.write_text(text)
        with pytest.raises(CheckpointError, match="damaged"):
            load_newest(tmp_path)


# Kills and full disks


class Killed(BaseException):
    """Stands for SIGKILL: from here on, nothing of the process runs any more."""


class Machine:
    """Counts the calls that touch the disk and dies at the k-th, before it, or half-way through a write."""

    def __init__(self, patch: pytest.MonkeyPatch, dies_at: int) -> None:
        self.calls, self.dies_at = 0, dies_at
        for owner, name in (
            (os, "fsync"),
            (os, "open"),
            (os, "unlink"),
            (os, "rmdir"),
            (Path, "rename"),
            (Path, "mkdir"),
            (Path, "open"),
            (shutil, "rmtree"),
        ):
            patch.setattr(owner, name, self.counted(getattr(owner, name)))
        patch.setattr(durable, "write_file", self.torn_write(durable.write_file))

    def tick(self) -> None:
        self.calls += 1
        if self.calls >= self.dies_at:
            raise Killed

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.tick()
            return function(*args, **kwargs)

        return call

    def torn_write(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, data: bytes) -> None:
            if self.calls + 1 == self.dies_at:
                path.write_bytes(data[: len(data) // 2])
            function(path, data)

        return call


def crashes(tmp_path: Path, prepare: Callable[[Path], Any], act: Callable[[Path], Any]) -> Iterator[Path]:
    """The folder after ``act`` was killed at its first, second, ... call; ends when it was no longer reached."""
    for dies_at in range(1, 200):
        root = tmp_path / str(dies_at)
        prepare(root)
        with pytest.MonkeyPatch.context() as patch:
            machine = Machine(patch, dies_at)
            try:
                act(root)
            except Killed:
                reached = True
            else:
                reached = machine.calls >= dies_at
        yield root
        if not reached:
            assert dies_at > 10, "the faults did not reach the code"
            return
    raise AssertionError("a save never got to its end")


def test_a_kill_at_any_point_leaves_the_old_or_the_new_checkpoint(tmp_path: Path) -> None:
    def prepare(root: Path) -> None:
        save_example(root, 1)
        save_example(root, 2)

    seen = set()
    for root in crashes(tmp_path, prepare, lambda root: save_example(root, 3)):
        seen.add(newest_step(root))
        loaded = load_newest(root)
        assert loaded is not None
        assert loaded.broken == ()
        assert all(len(names(path)) == 3 for path in root.glob("step-*")), "a half-removed one looks like a broken one"
        save_example(root, 4)
        assert names(root) <= {"step-2", "step-3", "step-4"}
        assert len(names(root)) == 2
    assert seen == {2, 3}


def test_a_kill_in_the_very_first_save_leaves_none_or_the_new_one(tmp_path: Path) -> None:
    found = [
        load_newest(root / "a" / "b")
        for root in crashes(tmp_path, lambda root: None, lambda root: save_example(root / "a" / "b", 1))
    ]
    assert found[0] is None
    assert found[-1] is not None
    assert all(each is None or each.step == 1 for each in found)


def test_saving_a_step_again_never_leaves_it_without_a_whole_one(tmp_path: Path) -> None:
    old, new = {"x": "old"}, {"x": "new"}

    def prepare(root: Path) -> None:
        save(root, 3, old, config_hash=HASH, keep=1)

    states = []
    for root in crashes(tmp_path, prepare, lambda root: save(root, 3, new, config_hash=HASH, keep=1)):
        loaded = load_newest(root)
        assert loaded is not None
        assert loaded.step == 3
        states.append(loaded.state)
        save(root, 3, new, config_hash=HASH, keep=1)
        assert names(root) == {"step-3"}
    assert states[0] == old
    assert states[-1] == new


CODES = ["ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EIO"]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("name", [STATE, TRAINER, MANIFEST])
def test_a_disk_that_refuses_is_one_line_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, name: str
) -> None:
    save_example(tmp_path, 1)
    write = durable.write_file

    def refuse(path: Path, data: bytes) -> None:
        if path.name == name:
            path.write_bytes(data[:7])
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        write(path, data)

    monkeypatch.setattr(durable, "write_file", refuse)
    with pytest.raises(StorageError) as caught:
        save_example(tmp_path, 2)
    message = str(caught.value)
    assert os.strerror(getattr(errno, code)) in message
    assert str(tmp_path / "step-2") in message
    assert "needs" in message
    assert "free" in message
    assert "\n" not in message
    assert names(tmp_path) == {"step-1"}
    assert newest_step(tmp_path) == 1


def test_free_space_is_checked_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_example(tmp_path, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    monkeypatch.setattr(checkpoint, "write_folder", lambda *args: pytest.fail("it wrote"))
    with pytest.raises(StorageError, match=r"too full; it needs .* MB, 1e-05 MB are free"):
        save_example(tmp_path, 2)


def test_a_file_in_the_way_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError):
        save_example(tmp_path / "file", 1)
    assert (tmp_path / "file").read_text() == "mine"


def test_older_checkpoints_go_only_after_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_example(tmp_path, 1)
    purge, at_purge = checkpoint._purge, []

    def spy(root: Path, step: int, keep: int, pinned: Any) -> None:
        at_purge.append((names(root), newest_step(root)))
        purge(root, step, keep, pinned)

    monkeypatch.setattr(checkpoint, "_purge", spy)
    save_example(tmp_path, 2, keep=1)
    assert at_purge == [({"step-1", "step-2"}, 2)]
    assert names(tmp_path) == {"step-2"}


def test_every_file_is_synced_before_the_rename_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Any] = []
    fsync, rename = os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(os.fstat(handle).st_ino), fsync(handle))[1])
    monkeypatch.setattr(Path, "rename", lambda path, to: (events.append(f"-> {to.name}"), rename(path, to))[1])
    path = save_example(tmp_path, 1)
    order = [path / STATE, path / TRAINER, path / MANIFEST, path, "-> step-1", tmp_path]
    assert events == [each if isinstance(each, str) else each.stat().st_ino for each in order]
