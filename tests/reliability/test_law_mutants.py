"""Each law of the project, a small mistake against it, and the test that does not let it by.

The law is what must hold, the place and the changed text are the mistake, the name is the test that fails on it. A
function that has changed makes its mistake say so: aim it anew at what does the same there. The slower ones are for the
long tests. Mistakes with several processes are in `test_mutants.py`.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from law_mistakes import MISTAKES
from mistakes import Mistake
from mutating import run_test, source_changed


def quick_or_slow(mistake: Mistake) -> Any:
    return pytest.param(mistake, id=mistake.name, marks=[pytest.mark.cross] if mistake.slow else [])


@pytest.mark.parametrize("mistake", [quick_or_slow(mistake) for mistake in MISTAKES])
def test_the_mistake_is_found(mistake):
    with mistake.made():
        assert run_test(mistake.test).failed, f"{mistake.test} lets it by"


@pytest.mark.parametrize("name", sorted({mistake.test for mistake in MISTAKES if mistake.slow}))
@pytest.mark.cross
def test_without_a_mistake_it_passes(name):
    """The quick suite runs these tests by themselves; here it is shown that an inner session runs them as well."""
    outcomes = run_test(name)
    assert outcomes.passed
    assert not outcomes.failed


def test_a_change_is_undone():
    from cnas.random import generator

    before = generator(1, "route", 1).initial_seed()
    with contextlib.suppress(KeyError), source_changed("cnas.random:generator", {"stream, *": "stream, '', *"}):
        assert generator(1, "route", 1).initial_seed() != before
        raise KeyError
    assert generator(1, "route", 1).initial_seed() == before


@pytest.mark.parametrize(
    ("place", "changes", "error"),
    [
        ("cnas.random:generator", {"nowhere": ""}, AssertionError),
        ("cnas.random:generator", {"stream": ""}, AssertionError),
        ("cnas.random:nobody", {}, AttributeError),
    ],
)
def test_a_change_that_does_not_hit_is_an_error(place, changes, error):
    with pytest.raises(error), source_changed(place, changes):
        pass
