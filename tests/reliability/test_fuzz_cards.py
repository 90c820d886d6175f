"""Card fields from anywhere: the front matter always parses and says what it said, and nothing is marked up."""

import re
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))
import card_result
import test_card_injection as injection
from damage import HOSTILE

from cnas.errors import UserError
from cnas.hub import _markdown
from cnas.hub._markdown import last_part, one_line
from cnas.hub.metadata import TAGS

LETTERS = st.text(injection.LETTERS | st.characters(), min_size=1, max_size=30)


def test_whatever_a_field_says_a_card_stays_a_card(budget, measured):
    counts = {"cards": 0}

    def checked(text):
        injection.check(text)
        counts["cards"] += 1

    for text in injection.HOSTILE:
        checked(text)

    @settings(derandomize=True, deadline=None, max_examples=budget(60, 3_000), database=None)
    @given(LETTERS)
    def fuzzed(text):
        # A tag that is there already is not there twice.
        assume(one_line(text) and last_part(text) not in TAGS)
        checked(text)

    fuzzed()
    measured(
        f"{counts['cards']:,} of {counts['cards']:,} cards, {len(injection.HOSTILE)} of them by hand: front matter "
        "equal, licence unchanged, no raw HTML, no link, no mark-up"
    )


def test_fields_of_any_type_make_a_card(budget, measured):
    counts = {"cards": 0, "refused": 0}
    fields = sorted(card_result.result())
    inner = {name: sorted(value) for name, value in card_result.result().items() if isinstance(value, dict)}
    places = [(name,) for name in fields] + [(name, key) for name, keys in inner.items() for key in keys]
    odd = [value for value in HOSTILE if not (isinstance(value, str) and len(value) > 1000)]

    @settings(derandomize=True, deadline=None, max_examples=budget(60, 2_000), database=None)
    @given(st.sampled_from(places), st.sampled_from(odd))
    def fuzzed(place, value):
        changes = {place[0]: value if len(place) == 1 else {**card_result.result()[place[0]], place[1]: value}}
        try:
            text = card_result.render(changes)
        except UserError as problem:
            if "\n" in str(problem):
                pytest.fail(f"several lines: {problem}")
            counts["refused"] += 1
            return
        assert injection.front_matter(text)["license"] == "unknown"
        assert not re.search(r"<(script|img|iframe)", text)
        counts["cards"] += 1

    fuzzed()
    assert min(counts.values()) > 0
    measured(f"{counts['cards']:,} cards with a field of another type, {counts['refused']:,} refused in one line")


def test_a_card_that_escapes_nothing_is_found(monkeypatch):
    """The mutant: text goes into the card as it is."""
    monkeypatch.setattr(_markdown, "plain", str)
    for cached in (_markdown.environment, injection.harmless):
        cached.cache_clear()
    try:
        with pytest.raises(AssertionError):
            injection.check("<script>alert(1)</script>")
    finally:
        for cached in (_markdown.environment, injection.harmless):
            cached.cache_clear()
