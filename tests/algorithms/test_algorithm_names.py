"""Algorithms are found by the names of their modules."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cnas.algorithms
from cnas.algorithms import default_config, names
from cnas.algorithms.base import SearchAlgorithm
from cnas.errors import UserError


def test_every_name_has_a_configuration_that_builds_that_algorithm(elastic):
    assert names() == sorted(set(names()))
    assert "enas" in names()
    for name in names():
        config = default_config(name)
        assert config.name == name
        algorithm = config.build(elastic(), 0)
        assert isinstance(algorithm, SearchAlgorithm)
        assert algorithm.paper.url.startswith("https://")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match=r"^algorithm must be one of darts_v1, .*, got 'enass'; did you mean enas\?$"):
        default_config("enass")


def test_classes_are_offered_by_the_package_and_nothing_else_is():
    from cnas.algorithms.enas import ENAS

    assert cnas.algorithms.ENAS is ENAS
    for absent in ("Nothing", "Tensor", "SearchSpace", "nothing"):
        with pytest.raises(AttributeError, match=absent):
            getattr(cnas.algorithms, absent)


def test_a_new_file_is_found_without_any_list(tmp_path, monkeypatch):
    (tmp_path / "newcomer.py").write_text("class Newcomer: pass\nNAMES = {'newcomer': Newcomer()}\n")
    (tmp_path / "_hidden.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.setattr(cnas.algorithms, "__path__", [*cnas.algorithms.__path__, str(tmp_path)])
    try:
        assert {"newcomer", "enas"} <= set(names())
        assert type(default_config("newcomer")) is cnas.algorithms.Newcomer
    finally:
        sys.modules.pop("cnas.algorithms.newcomer", None)
        vars(cnas.algorithms).pop("newcomer", None)


def test_importing_the_package_imports_no_algorithm():
    code = "import sys, cnas.algorithms; sys.exit('cnas.algorithms.enas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
