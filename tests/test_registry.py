"""What is found by its place: new files without a list, unknown names with the nearest one."""

import sys

import pytest

from cnas.errors import UserError
from cnas.registry import Registry


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose modules offer things by name."""
    home = tmp_path / "offers"
    home.mkdir()
    (home / "__init__.py").touch()
    (home / "base.py").write_text("raise AssertionError('imported')")
    (home / "_shared.py").write_text("raise AssertionError('imported')")
    (home / "plain.py").touch()
    (home / "fruit.py").write_text("NAMES = {'pear': 1, 'apple': 2}")
    (home / "tree").mkdir()
    (home / "tree" / "__init__.py").write_text("NAMES = {'oak': 3}")
    monkeypatch.syspath_prepend(tmp_path)
    yield "offers"
    for name in [name for name in sys.modules if name.partition(".")[0] == "offers"]:
        del sys.modules[name]


def test_nothing_is_imported_before_somebody_asks(package):
    found = Registry("plant", package)
    assert package not in sys.modules
    assert found.names() == ["apple", "oak", "pear"]
    assert [found.find(name) for name in found.names()] == [2, 3, 1]


def test_what_a_module_offers_may_be_its_own_affair(package):
    found = Registry("plant", package, lambda module: {module.__name__.rpartition(".")[2]: module})
    assert found.names() == ["fruit", "plain", "tree"]
    assert found.find("tree").NAMES == {"oak": 3}


@pytest.mark.parametrize(
    ("name", "end"), [("oax", "got 'oax'; did you mean oak?"), ("", "got ''"), ("x" * 10**7, f"got '{'x' * 60}'")]
)
def test_an_unknown_name_is_one_line_with_all_names_and_the_nearest(package, name, end):
    with pytest.raises(UserError) as caught:
        Registry("plant", package).find(name)
    assert str(caught.value) == f"plant must be one of apple, oak, pear, {end}"
