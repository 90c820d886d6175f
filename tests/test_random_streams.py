"""Names of random streams are data: one that changes moves every draw of it. `random_streams.json` has them all.

``written`` is what stands in the code ("{}" for what is put in), ``streams`` is the whole name of each stream with the
seed of its first generator (seed 1, counter 0), so that the way from a name to numbers is frozen as well.
"""

import ast
import functools
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import build_session, build_space, build_trainer

import cnas.random
from cnas.curricula import Uncertainty
from cnas.random import DropoutSeeds, generator
from cnas.spaces import names

ROOT = Path(__file__).parents[1]
LISTED = json.loads(Path(__file__).with_name("random_streams.json").read_text("utf-8"))
PARAMETERS = ("stream", "purpose")
"""A function with such a parameter takes the name of a stream, or a part of it."""
DRAWING = ("generator", "DropoutSeeds")
"""Where a name becomes draws: it is a literal there, or one of the parameters above, whose callers are looked at."""


@functools.cache
def package():
    """The syntax of every file, and all that takes the name of a stream."""
    trees = [ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / "cnas").rglob("*.py"))]
    return trees, {pair for tree in trees for pair in takers(tree)}


def takers(tree):
    """(name, position of the stream in a call) of every function or class that takes one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name != "generator"]
            for method in methods:
                name = node.name if method.name == "__init__" else method.name
                yield from ((name, at - 1) for at in _places([argument.arg for argument in _arguments(method)]))
            fields = [part.target.id for part in node.body if isinstance(part, ast.AnnAssign)]
            yield from ((node.name, at) for at in _places(fields))
        elif isinstance(node, ast.Module):
            functions = [part for part in node.body if isinstance(part, ast.FunctionDef)]
            for part in functions:
                yield from ((part.name, at) for at in _places([argument.arg for argument in _arguments(part)]))


def _arguments(function):
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _places(names):
    return [at for at, name in enumerate(names) if name in PARAMETERS]


def _called(call):
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)


def expressions(tree, found):
    """What is given as the name of a stream, and to what: in calls of ``found``, and to attributes of that name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = _called(node)
            yield from ((name, keyword.value) for keyword in node.keywords if keyword.arg in PARAMETERS)
            # The method `generator` of a context or of dropout seeds has no seed before the name.
            method = isinstance(node.func, ast.Attribute) and name == "generator"
            positions = {0} if method else {at for taker, at in found if taker == name}
            yield from ((name, node.args[at]) for at in positions if at < len(node.args))
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _assigned(target, node.value)


def _assigned(target, value):
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for pair in zip(target.elts, value.elts, strict=True):
            yield from _assigned(*pair)
    elif isinstance(target, ast.Attribute) and target.attr in PARAMETERS:
        yield target.attr, value


def text(expression):
    """The text of a literal; None of what has been given a name elsewhere."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        return expression.value
    if isinstance(expression, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in expression.values)
    return None


def written_in(trees, found):
    """The literals that name streams in ``trees``, and what names a stream and is neither literal nor parameter."""
    given = [pair for tree in trees for pair in expressions(tree, found)]
    others = {ast.unparse(value) for name, value in given if name in DRAWING and text(value) is None}
    return {literal for _, value in given if (literal := text(value)) is not None}, others - set(PARAMETERS)


def test_the_code_names_exactly_the_streams_that_are_listed():
    literals, others = written_in(*package())
    assert sorted(literals) == LISTED["written"]
    assert not others, "the name of a stream is a literal where it is given first"


@pytest.mark.parametrize(
    ("line", "literal"),
    [
        ("generator(seed, 'other', 3)", "other"),
        ("generator(seed, stream='other')", "other"),
        ("context.generator(f'other/{name}')", "other/{}"),
        ("DropoutSeeds(1, 'other', 2, rows, 4)", "other"),
        ("ImageBatches(images, 3, seed=1, stream='other')", "other"),
        ("with seeded(1, 'other'): pass", "other"),
        ("view.stream, view.shuffle = f'{self.stream}/other', 'once'", "{}/other"),
        ("def draw(count, purpose): pass\ndraw(3, 'other')", "other"),
    ],
)
def test_a_new_stream_is_found(line, literal):
    tree = ast.parse(line)
    literals, _ = written_in([tree], package()[1] | set(takers(tree)))
    assert literals == {literal}


def test_a_stream_named_at_a_distance_is_found():
    assert written_in([ast.parse("generator(seed, NAMES[3])")], package()[1]) == (set(), {"NAMES[3]"})


def test_the_way_from_a_name_to_numbers_is_frozen():
    assert {name: generator(1, name, 0).initial_seed() for name in LISTED["streams"]} == LISTED["streams"]
    assert generator(1, "route", 7, 3).initial_seed() == 16903300033165592102


def test_dropout_seeds_are_those_of_their_stream():
    masks = DropoutSeeds(1, "search/dropout", 0, slice(0, 2), 4)
    assert masks.generator("hidden").initial_seed() == LISTED["streams"]["search/dropout/hidden"]


def test_every_listed_stream_is_one_that_the_code_can_name():
    parts = {part for name in LISTED["written"] for part in name.split("/")} - {"{}"}
    assert not [
        name for name in LISTED["streams"] if not set(name.split("/")) <= parts | {"search", "retrain", *names()}
    ]


@pytest.fixture
def named(monkeypatch):
    """The names of the streams that are drawn from while a test runs."""
    found = set()

    def sha256(key):
        found.add("/".join(part for part in key.decode().split("/")[1:] if not part.isdigit()))
        return hashlib.sha256(key)

    monkeypatch.setattr(cnas.random, "hashlib", SimpleNamespace(sha256=sha256))
    return found


@pytest.mark.parametrize(
    ("space", "algorithm", "refresh"),
    [
        ("enas_rnn", "enas", "epoch"),
        ("darts_rnn", "darts_v2", "step"),
        ("nats", "gdas", "epoch"),
        ("nats", "spos", "epoch"),
        ("enas_rnn", "rsps", "step"),
    ],
)
def test_a_search_draws_from_listed_streams(tmp_path, named, space, algorithm, refresh):
    unit = "sample" if space == "nats" else "sequence"
    curriculum = Uncertainty(num_candidates=2, refresh=refresh, unit=unit)
    found = build_space(space)
    build_trainer(build_session(tmp_path), curriculum, space=found, algorithm=algorithm, num_train_epochs=2).train()
    assert named
    assert sorted(named - set(LISTED["streams"])) == []
