import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.errors import StorageError, UserError
from cnas.training.metrics_log import MetricsLog, read, stable

PUBLISHED = sorted((Path(__file__).parents[2] / "docs" / "results").glob("**/metrics.jsonl"))
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
    assert path.read_bytes().endswith(torn)  # who only looks cuts nothing: another process may be writing it
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


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.parent.name)
def test_every_published_log_is_read(file):
    rows = read(file)
    assert rows
    assert {row["phase"] for row in rows} <= {"search", "retrain"}


WRONG = [
    ("epoch", "1", "epoch must be a valid integer, got '1'"),
    ("epoch", -1, "epoch must be greater than or equal to 0, got -1"),
    ("phase", 3, "phase must be a valid string, got 3"),
    ("valid_loss", "low", "valid_loss must be a valid number, got 'low'"),
    ("valid_loss", float("nan"), "valid_loss must be "),
    ("valid_perplexity", 10**400, "valid_perplexity must be a valid number, got 1000"),
    ("alphas", [[1.0, "x"]], "alphas must be a valid number, got 'x'"),
    ("weight_traces", {"a": 1}, "weight_traces must be a valid list, got {'a': 1}"),
]


@pytest.mark.parametrize(("key", "value", "words"), WRONG)
def test_a_value_of_the_wrong_type_is_refused_by_line_and_name(tmp_path, key, value, words):
    log = tmp_path / "metrics.jsonl"
    rows = [{"phase": "search", "epoch": 1}, {"phase": "search", "epoch": 2, key: value}]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    with pytest.raises(UserError, match=re.escape(f"{log}, line 2: {words}")):
        read(log)


def test_what_a_newer_version_adds_to_a_row_is_kept(tmp_path):
    row = {"phase": "search", "epoch": 1, "valid_loss": None, "later": {"deep": ["text"]}}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    assert read(tmp_path / "metrics.jsonl") == [row]


def test_a_log_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be read"):
        read(tmp_path / "metrics.jsonl")
