"""Searches of every space begin as they were written down (`compare.py --write`), on any machine.

`compare.py COMMIT` is the exact one, on one machine.
"""

import runpy
import sys

import pytest
from cases import TRAJECTORIES
from compare import ROOT, readable, written
from tiny_recipe import write_corpus
from trajectory import first_difference, trajectory


@pytest.mark.parametrize(("base", "head"), [({"a": [1.0, 2.0]}, {"a": [1.0, 2.1]}), ([1], [1, 2]), ({"a": "x"}, {})])
def test_a_difference_is_found(base, head):
    assert first_difference(base, head, 1e-4)


def test_what_is_added_is_no_difference():
    assert first_difference({"a": [1.0]}, {"a": [1.00001], "b": 3}, 1e-4) is None


def test_all_trajectories_are_written():
    assert written().keys() == TRAJECTORIES.keys()


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_a_search_begins_as_it_was_written(tmp_path, monkeypatch, name):
    write_corpus(tmp_path / "corpus")
    recipe, *flags = TRAJECTORIES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [recipe, *flags, "--output-dir", "run"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / recipe), run_name="__main__")
    assert not ended.value.code
    assert first_difference(written()[name], readable(trajectory(tmp_path / "run")), 1e-4) is None
