"""Files of a few kilobytes that would fill the memory, or take for ever: refused, for little of either."""

import json

import pytest
from bombs import BOMBS, open_bomb
from launching import Launched

SECONDS, MEGABYTES = 20.0, 64.0
"""Of the processor, against hanging: the slowest takes a second or two. What a bomb would take has no end."""


def opened(name, folder):
    """What it took a process of its own."""
    folder.mkdir()
    write, _ = BOMBS[name]
    write(folder)
    report = folder / "took.json"
    ended = Launched(folder / "output", open_bomb, name, folder, report).wait()
    assert ended.code == 0, (name, ended)
    return json.loads(report.read_text("utf-8"))


def check(name, took):
    assert took["refusal"], name
    assert len(took["refusal"]) < 2000, name
    assert took["seconds"] < SECONDS, (name, took)
    assert took["megabytes"] < MEGABYTES, (name, took)


def test_bombs_are_refused_for_little_memory_and_time(tmp_path, measured):
    took = {name: opened(name, tmp_path / str(number)) for number, name in enumerate(BOMBS)}
    for name, each in took.items():
        check(name, each)
    slowest, largest = (max(each[key] for each in took.values()) for key in ("seconds", "megabytes"))
    measured(f"{len(took)} of {len(took)} refused; at most {largest:.0f} MB and {slowest:.1f} s")


def unbounded(*given):
    """The bug: a pickle may do as much as it likes."""
    from cnas.data import unpickle

    unpickle.OPERATIONS = 1 << 40
    return open_bomb(*given)


def test_a_reader_that_counts_no_operations_is_found(tmp_path, monkeypatch):
    name = "pickle: a million sets"
    monkeypatch.setattr("test_bombs.open_bomb", unbounded)
    took = opened(name, tmp_path / "bomb")
    with pytest.raises(AssertionError):
        check(name, took)
