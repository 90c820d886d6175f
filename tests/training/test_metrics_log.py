import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.errors import StorageError, UserError
from cnas.training.metrics_log import MetricsLog, read, stable

values = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
rows = st.lists(st.dictionaries(st.text(max_size=4), values, max_size=3), max_size=5)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(rows, st.data())
def test_what_is_appended_is_read_and_cut_back_exactly(
    tmp_path_factory: Any, rows: list[dict], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    log = MetricsLog(path)
    for row in rows:
        log.append(row)
    assert read(path) == rows
    assert log.rows == MetricsLog(path).rows == len(rows)
    keep = data.draw(st.integers(0, len(rows)))
    log.truncate(keep)
    assert read(path) == rows[:keep]
    log.append({"next": keep})
    assert read(path) == [*rows[:keep], {"next": keep}]


def test_cutting_back_and_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    logs = [MetricsLog(tmp_path / name) for name in ("straight", "resumed")]
    for log in logs:
        for epoch in range(4):
            log.append({"epoch": epoch, "train_loss": epoch / 3})
    resumed = MetricsLog(logs[1].path)
    resumed.truncate(2)
    for epoch in (2, 3):
        resumed.append({"epoch": epoch, "train_loss": epoch / 3})
    assert logs[0].path.read_bytes() == logs[1].path.read_bytes()


@pytest.mark.parametrize("torn", [b'{"epo', b"\0\0\0", b'{"epoch": 2}', b'{"a": "\r'])
def test_a_torn_last_line_is_not_read_and_not_built_upon(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"epoch": 0}\n{"epoch": 1}\n' + torn)
    assert read(path) == [{"epoch": 0}, {"epoch": 1}]
    log = MetricsLog(path)
    assert log.rows == 2
    log.append({"epoch": 2})
    assert read(path) == [{"epoch": 0}, {"epoch": 1}, {"epoch": 2}]


def test_lines_are_strict_json(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"loss": float("nan"), "deep": {"bounds": (float("-inf"), 1.0)}, "line": "a\nb\u2028c"})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    (line,) = log.path.read_text().splitlines()
    row = json.loads(line, parse_constant=refuse)
    assert row == {"loss": None, "deep": {"bounds": [None, 1.0]}, "line": "a\nb\u2028c"}


def test_what_json_cannot_hold_writes_nothing(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    with pytest.raises(TypeError):
        log.append({"loss": torch.tensor(1.0)})
    assert log.rows == 0
    assert read(log.path) == []


@pytest.mark.parametrize("count", [-1, 2])
def test_cutting_back_to_rows_that_are_not_there_is_refused(tmp_path: Path, count: int) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"epoch": 0})
    with pytest.raises(UserError, match=f"cannot be cut back to {count} rows, it has 1"):
        log.truncate(count)
    assert read(log.path) == [{"epoch": 0}]


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for bad in ("[1]", "{", "\udcff"):
        path.write_text(f'{{"epoch": 0}}\n{bad}\n', errors="surrogateescape")
        with pytest.raises(UserError, match="line 2: must be a JSON object") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_every_row_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), fsync(handle))[1])
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for epoch in range(3):
        log.append({"epoch": epoch})
        assert log.path.stat().st_size in synced


def test_a_disk_that_refuses_keeps_the_rows_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"epoch": 0})
    fsync, calls = os.fsync, []

    def full_once(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full_once)
    with pytest.raises(StorageError, match="row 2 was not written: No space left on device"):
        log.append({"epoch": 1})
    assert log.rows == 1
    log.append({"epoch": 2})
    assert read(log.path) == [{"epoch": 0}, {"epoch": 2}]


def test_stable_drops_what_the_machine_decides() -> None:
    row = {"epoch": 1, "seconds": 2, "train_seconds": 0.1, "tokens_per_second": 3.0, "peak_memory": 4, "memory": 5}
    assert stable(row) == {"epoch": 1, "seconds": 2, "memory": 5}
