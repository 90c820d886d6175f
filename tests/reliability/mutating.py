"""Small changes of the source, made while a context lasts, and the tests that they must not get by.

A change is made in the code object of a function, so that everything that has imported it by name meets it as well.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from hypothesis import Phase, settings

ROOT = Path(__file__).parents[2]
CHANGED = "changed"
SETTINGS = "_hypothesis_internal_use_settings"
"""Where hypothesis keeps the settings of a test."""


def function_at(place: str) -> FunctionType:
    """The plain function of ``module:name`` or ``module:Class.name``, below its decorators."""
    module, _, path = place.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    for inner in ("fget", "__func__"):
        found = getattr(found, inner, None) or found
    function = inspect.unwrap(found)
    assert isinstance(function, FunctionType), place
    return function


def changed_code(function: FunctionType, changes: dict[str, str]) -> CodeType:
    """Its code with each text, which it must have once, replaced by another."""
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes.items():
        assert source.count(old) == 1, f"{function.__qualname__} has {source.count(old)} times {old!r}: aim anew"
        source = source.replace(old, new)
    (inner,) = ast.parse(source).body
    assert isinstance(inner, ast.FunctionDef)
    # Under its own name it would hide what it means by that name.
    inner.name, inner.decorator_list = CHANGED, []
    # Free variables, such as that of `super()`, are those of a function around it.
    outer = ast.parse(f"def outer({', '.join(function.__code__.co_freevars)}): pass")
    outer.body[0].body = [inner]  # type: ignore[attr-defined]
    compiled = compile(ast.fix_missing_locations(outer), function.__code__.co_filename, "exec", dont_inherit=True)
    (around,) = (part for part in compiled.co_consts if isinstance(part, CodeType))
    (code,) = (part for part in around.co_consts if isinstance(part, CodeType) and part.co_name == CHANGED)
    assert code.co_freevars == function.__code__.co_freevars
    return code


@contextlib.contextmanager
def source_changed(place: str, changes: dict[str, str]) -> Iterator[None]:
    """The function at ``place`` with some of its text replaced."""
    function = function_at(place)
    before, function.__code__ = function.__code__, changed_code(function, changes)
    try:
        yield
    finally:
        function.__code__ = before


class Outcomes:
    """Collects what became of every test of an inner session of pytest."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.passed: list[str] = []
        self._settings: list[tuple[Any, settings]] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Called by pytest. One example that fails is enough: none is looked for that is smaller."""
        for function in {getattr(item, "obj", None) for item in items}:
            own = getattr(function, SETTINGS, None)
            if own is not None:
                self._settings.append((function, own))
                setattr(function, SETTINGS, settings(own, phases=set(own.phases) - {Phase.shrink, Phase.explain}))

    def restore(self) -> None:
        """Give the tests their own settings back."""
        for function, own in self._settings:
            setattr(function, SETTINGS, own)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest, for every phase of every test."""
        if report.failed:
            self.failed.append(f"{report.nodeid}: {report.longreprtext.splitlines()[-1][:120]}")
        elif report.when == "call" and report.passed:
            self.passed.append(report.nodeid)


def run_test(name: str) -> Outcomes:
    """Run one test, or all cases of one, in this process, under whatever change is made."""
    outcomes = Outcomes()
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = pytest.main(
            [f"{ROOT / name}", "-q", "-x", f"--rootdir={ROOT}", "-p", "no:cacheprovider", "-p", "no:xdist"],
            plugins=[outcomes],
        )
    outcomes.restore()
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), f"{name}: {code!r}\n{out.getvalue()[-2000:]}"
    assert outcomes.failed or outcomes.passed, name
    return outcomes
