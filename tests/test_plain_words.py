"""Names and first docstring lines use the words of the field: what somebody who knows `transformers` expects.

Only identifiers and first lines are read. Names of random streams and keys on disk are strings, and data: they stay.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

IN_NAMES = {
    **dict.fromkeys(("judge", "judges", "judged", "judging"), "scoring candidate, score"),
    **dict.fromkeys(("weigh", "weighs", "weighed"), "reweight"),
    **dict.fromkeys(("carry", "carries", "carried"), "hidden state"),
    **dict.fromkeys(("lend", "lends", "lent", "loan", "loans", "rooms"), "pool, buffers"),
    **dict.fromkeys(("told", "spoken", "say", "said"), "format, log"),
    **dict.fromkeys(("look", "looked"), "check; of benchmarks: metrics"),
    **dict.fromkeys(("brood", "breed"), "population, next_generation"),
    **dict.fromkeys(("tend", "tolerated"), "supervise, safe"),
    "noise": "DropoutSeeds",
    "together": "collective_errors",
    "session": "RunContext",
    "slowness": "tar",
    "fan": "edges",
    "live": "reachable",
    "insist": "call",
    "held": "lock",
    "shown": "sample view",
    "hits": "correct",
    "handed": "passed",
}
"""A word that no identifier has as a part of it, and what is said instead."""
CLASSES = {"Fan", "Loan", "Noise", "Patience", "Position", "Ranks", "Rooms", "Session", "StopFlag", "Total", "Trained"}
"""Whole names that no class or function has; their words are good English otherwise."""
WHOLE = {"all_sum", "make", "begin"}
"""Whole identifiers that are none; `begin_epoch` and `make_table` are."""
IN_LINES = {
    **{word: said for word, said in IN_NAMES.items() if said in {"scoring candidate, score", "reweight"}},
    **dict.fromkeys(("carry", "carries", "carried"), "hidden state; holds"),
    **dict.fromkeys(("lend", "lends", "lent", "loan"), "gives, passes"),
    **dict.fromkeys(("told", "spoken", "insist"), "given, formatted"),
    **dict.fromkeys(("hand on", "hands on", "handed on"), "pass, passed"),
    **dict.fromkeys(("stand", "stands"), "is, is at"),
    "left behind": "saved",
}
ENGLISH = ("stand-alone", "stands for", "look up", "looked up", "look_up", "start_new_session", "noise_GM")
"""What may be said all the same: English, a name of Python's library, and noise that is noise."""


def rooms():
    """(room, path) of every file; a room is a folder of `cnas`, a file beside them, or `recipes`."""
    for path in sorted([*(ROOT / "cnas").rglob("*.py"), *(ROOT / "recipes").glob("*.py")]):
        parts = path.relative_to(ROOT).parts
        yield parts[0] if parts[0] == "recipes" else "/".join(parts[:2]), path


def names(tree):
    """Every identifier of a file but those it merely imports, and whether it is that of a class or a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, True
        elif isinstance(node, ast.Name):
            yield node.id, False
        elif isinstance(node, ast.Attribute):
            yield node.attr, False
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            yield node.arg, False


def words(name):
    """The words of a snake_case or CamelCase identifier, in small letters."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", name)}


def wrong_in_name(name, defined=False):
    if name in ENGLISH:
        return set()
    whole = {name} & (CLASSES | WHOLE if defined else WHOLE)
    return whole | words(name) & set(IN_NAMES)


def wrong_in_line(line):
    for phrase in ENGLISH:
        line = line.replace(phrase, "")
    return {word for word in IN_LINES if re.search(rf"\b{word}\b", line, re.IGNORECASE)}


def first_lines(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text.splitlines()[0]


def found():
    """By room, the words in it and where."""
    places = {}
    for room, path in rooms():
        tree = ast.parse(path.read_text("utf-8"))
        wrong = [(word, name) for name, defined in set(names(tree)) for word in wrong_in_name(name, defined)]
        wrong += [(word, line) for line in first_lines(tree) for word in wrong_in_line(line)]
        for word, place in wrong:
            places.setdefault(room, {}).setdefault(word, set()).add(f"{path.relative_to(ROOT)}: {place}")
    return places


def test_words_that_nobody_else_uses_stay_away():
    new = {
        f"{word} (say: {(IN_NAMES | IN_LINES).get(word, 'another name')}) in {place}"
        for room, wrong in found().items()
        for word, places in wrong.items()
        for place in places
    }
    assert sorted(new) == []


@pytest.mark.parametrize("name", ["judged_KU", "LoanDesk", "told_precision", "_say", "all_sum", "Noise", "begin"])
def test_a_name_is_refused(name):
    assert wrong_in_name(name, defined=True)


@pytest.mark.parametrize("name", ["begin_step", "noise_GM", "alive", "total", "position", "carrier", "make_table"])
def test_a_name_is_allowed(name):
    assert not wrong_in_name(name)


@pytest.mark.parametrize(
    "line", ["Lends memory.", "Where the loop stands.", "What K subnets judge.", "It is handed on."]
)
def test_a_line_is_refused(line):
    assert wrong_in_line(line)


@pytest.mark.parametrize("line", ["A stand-alone network.", "What the text stands for.", "Make it live.", "Begins so."])
def test_a_line_is_allowed(line):
    assert not wrong_in_line(line)
