"""The pages of the API: every public name is on one of them, and its docstring says what a caller needs."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path

import pytest

import cnas
from cnas import algorithms
from cnas.errors import CnasError
from cnas.fields import field_docs

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "api").glob("*.md"))
PROMISED = [
    "cnas",
    "cnas.algorithms",
    *(f"cnas.algorithms.{found.name}" for found in pkgutil.iter_modules(algorithms.__path__) if found.name[0] != "_"),
    "cnas.reports.analyses",
    "cnas.benchmarks",
    "cnas.cli.main",
    "cnas.reports.comparison",
    "cnas.fields",
    "cnas.runs.flags",
    "cnas.curricula",
    "cnas.data",
    "cnas.errors",
    "cnas.hub",
    "cnas.cli.launch",
    "cnas.metrics",
    "cnas.random",
    "cnas.runs.devices",
    "cnas.runs.pipeline",
    "cnas.runs.config",
    "cnas.runs.result",
    "cnas.data.unpickle",
    "cnas.spaces",
    "cnas.studies",
    "cnas.studies.statistics",
    "cnas.sweeps",
    "cnas.trainer",
    "cnas.training",
    "cnas.types",
]
"""Modules whose public names are promised: those of ``__all__``, or else the classes and functions of their own."""


def is_defined_in(value, module):
    own = getattr(value, "__module__", None) or ""
    return (inspect.isclass(value) or inspect.isfunction(value)) and (
        own == module.__name__ or (hasattr(module, "__path__") and own.startswith(f"{module.__name__}."))
    )


def public_names(module_name):
    module = importlib.import_module(module_name)
    if hasattr(module, "__all__"):
        return {f"{module_name}.{name}": getattr(module, name) for name in module.__all__}
    own = {name: value for name, value in vars(module).items() if is_defined_in(value, module)}
    return {f"{module_name}.{name}": value for name, value in own.items() if not name.startswith("_")}


def public():
    """The shortest promised name of every public object."""
    found = {}
    for path, value in sorted(
        ((path, value) for module in PROMISED for path, value in public_names(module).items()),
        key=lambda pair: (pair[0].count("."), pair[0]),
    ):
        found.setdefault(id(value), (path, value))
    return dict(found.values())


PUBLIC = public()


def entries():
    """Every name that a page describes, and the page it is on."""
    return [(path, page.name) for page in PAGES for path in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.M)]


def described():
    """The objects the pages describe; a module stands for what it defines."""
    found = []
    for path, _ in entries():
        value = pkgutil.resolve_name(path)
        found += public_names(path).values() if inspect.ismodule(value) else [value]
    return found


def test_every_public_name_is_on_a_page():
    on_pages = {id(value) for value in described()}
    assert sorted(path for path, value in PUBLIC.items() if id(value) not in on_pages) == []


@pytest.mark.parametrize(("path", "page"), entries())
def test_a_name_on_a_page_exists_and_is_public(path, page):
    assert pkgutil.resolve_name(path) is not None
    assert not [part for part in path.split(".") if part.startswith("_")]
    assert [name for name, _ in entries()].count(path) == 1


def test_the_names_at_the_top_are_few_and_listed():
    text = (ROOT / "docs" / "api" / "index.md").read_text("utf-8")
    assert len(cnas.__all__) <= 12
    assert [name for name in cnas.__all__ if f"`{name}`" not in text.split("## The top of the package")[1]] == []
    assert sorted(cnas.__all__) == list(cnas.__all__)
    assert (ROOT / "cnas" / "py.typed").is_file()


def test_the_exit_codes_of_the_errors_are_true():
    text = (ROOT / "docs" / "api" / "errors.md").read_text("utf-8")
    listed = {name: int(code) for name, code in re.findall(r"^\| `(\w+)` \| (\d+) \|$", text, re.MULTILINE)}
    kinds = [kind for kind in public_names("cnas.errors").values() if isinstance(kind, type) and kind is not CnasError]
    assert listed == {kind.__name__: kind.exit_code for kind in kinds}


def words(doc):
    return set(re.findall(r"\w+", doc))


def raised_by(function):
    """Names of the exceptions that the body of a function raises itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def gaps_of_function(path, function, inherited=""):
    """What the docstring of a function, or that of the method it overrides, does not say."""
    doc = inspect.getdoc(function) or ""
    if not doc:
        return [f"{path} has no docstring"]
    parameters = [name for name in inspect.signature(function).parameters if name not in {"self", "cls"}]
    silent = set(parameters) - words(doc) - words(inherited) if len(parameters) > 1 else set()
    return [f"{path} does not say what {name} is" for name in sorted(silent)] + [
        f"{path} does not say that it raises {name}" for name in sorted(raised_by(function) - words(doc))
    ]


def methods(cls):
    for name, value in vars(cls).items():
        function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, function


def gaps_of_fields(path, cls):
    """What the docstring of a class does not say of its fields, which may have one each."""
    doc = vars(cls).get("__doc__") or ""
    found = [] if doc and not doc.startswith(f"{cls.__name__}(") else [f"{path} has no docstring"]
    told = {*field_docs(cls), *words(doc)}
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else []
    return found + [f"{path} does not say what {f.name} is" for f in fields if f.name not in told and f.name[0] != "_"]


def gaps_of_class(path, cls):
    """What the docstrings of a class, its fields, its own methods and its configuration's fields do not say."""
    found = gaps_of_fields(path, cls)
    for name, function in methods(cls):
        above = next((vars(base)[name] for base in cls.__mro__[1:] if name in vars(base)), None)
        found += gaps_of_function(f"{path}.{name}", function, inspect.getdoc(above) or "" if above else "")
    config = vars(cls).get("Config")
    return found + (gaps_of_fields(f"{path}.Config", config) if inspect.isclass(config) else [])


@pytest.mark.parametrize("path", [path for path, value in PUBLIC.items() if callable(value)])
def test_a_public_docstring_is_complete(path):
    value = PUBLIC[path]
    assert (gaps_of_class if inspect.isclass(value) else gaps_of_function)(path, value) == []


class Gappy:
    """A class whose documentation has holes."""

    def undescribed(self, left, right):
        """Something about left."""

    def silent(self):
        """Nothing is said about errors."""
        raise KeyError("here")

    def bare(self): ...


@dataclasses.dataclass
class GappyFields:
    """A field that nobody describes."""

    size: int = 1


def test_gaps_are_found():
    assert gaps_of_class("Gappy", Gappy) == [
        "Gappy.undescribed does not say what right is",
        "Gappy.silent does not say that it raises KeyError",
        "Gappy.bare has no docstring",
    ]
    assert gaps_of_class("GappyFields", GappyFields) == ["GappyFields does not say what size is"]
