"""Who may import whom, and how long things may be."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMON = ("cnas.errors", "cnas.types", "cnas.random", "cnas.metrics", "cnas.registry")

# Beside its own package; a trailing ".*" means everything below as well. The longest matching key counts.
ALLOWED = {
    "cnas": (
        "cnas.errors",
        "cnas.types",
        "cnas.hub.auto_hook",
        "cnas.data",
        "cnas.runs.config",
        "cnas.trainer",
        "cnas.training",
    ),
    "cnas.errors": (),
    "cnas.durable": ("cnas.errors",),
    "cnas.random": (),
    "cnas.registry": ("cnas.errors", "cnas.fields"),
    "cnas.types": ("cnas.random", "cnas.errors"),
    "cnas.metrics": ("cnas.errors",),
    "cnas.curriculum": ("cnas.curricula.*",),
    "cnas.spaces": COMMON,
    "cnas.algorithms": (*COMMON, "cnas.spaces.base"),
    "cnas.curricula": (*COMMON, "cnas.fields"),
    "cnas.data": (*COMMON, "cnas.fields"),
    "cnas.training": (
        *COMMON,
        "cnas.durable",
        "cnas.fields",
        "cnas.data.base",
        "cnas.curricula",
        "cnas.algorithms.base",
        "cnas.spaces.base",
        "cnas.spaces.pure",
        "cnas.spaces.supernet",
    ),
    "cnas.benchmarks": (
        *COMMON,
        "cnas.durable",
        "cnas.data.tables",
        "cnas.data.unpickle",
        "cnas.spaces",
        "cnas.spaces.base",
        "cnas.spaces.nats.*",
    ),
    "cnas.runs": ("cnas.*",),
    "cnas.fields": ("cnas.errors",),
    "cnas.strict_yaml": ("cnas.errors",),
    "cnas.presets": ("cnas.errors", "cnas.fields", "cnas.registry", "cnas.strict_yaml"),
    "cnas.runs.flags": ("cnas.errors", "cnas.fields"),
    "cnas.runs.lock": ("cnas.errors",),
    "cnas.hub": (
        *COMMON,
        "cnas.curricula",
        "cnas.durable",
        "cnas.spaces.*",
        "cnas.data.vocabulary",
        "cnas.reports.drawing",
        "cnas.reports.cell_graph",
        "cnas.reports.sizes",
        "cnas.runs.folder",
        "cnas.runs.measures",
        "cnas.runs.result",
    ),
    "cnas.hub.artifacts": ("cnas.*",),
    "cnas.reports": ("cnas.*",),
    "cnas.reports.comparison": (
        "cnas.errors",
        "cnas.spaces",
        "cnas.runs.benchmark_record",
        "cnas.runs.earlier",
        "cnas.runs.folder",
        "cnas.runs.measures",
        "cnas.runs.result",
        "cnas.hub._markdown",
    ),
    "cnas.reports.analyses": (
        *COMMON,
        "cnas.durable",
        "cnas.reports.*",
        "cnas.runs.measures",
        "cnas.runs.result",
        "cnas.spaces.base",
        "cnas.hub._markdown",
    ),
    "cnas.sweeps": ("cnas.*",),
    "cnas.studies": ("cnas.*",),
    "cnas.trainer": ("cnas.*",),
    "cnas.cli": ("cnas", "cnas.*"),
    "cnas.__main__": ("cnas.cli.main",),
}
SHARED = [f"cnas.spaces.{path.stem}" for path in sorted((ROOT / "cnas" / "spaces").glob("_[a-z]*.py"))]
"""What spaces share; it knows none of them."""
ONE_SPACE = (*COMMON, "cnas.spaces.base", "cnas.spaces.supernet", "cnas.spaces.pure", *SHARED)
TRAVELLERS = {"torch", "transformers", "huggingface_hub", *sys.stdlib_module_names}
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted((ROOT / "cnas").rglob("*.py"))}
RECIPES = {module_name(path): path for path in sorted((ROOT / "recipes").rglob("*.py"))}


def imports(path, name):
    """Absolute names of all that a file imports, wherever in it; a module rather than its content where it can be."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in FILES else module


def matches(name, entry):
    return name == entry or (entry.endswith(".*") and f"{name}.".startswith(entry[:-1]))


def permitted(name):
    """The entries that module ``name`` may import from `cnas`."""
    folder = ".".join(name.split(".")[:3])
    if folder.startswith("cnas.spaces.") and FILES[folder].name == "__init__.py":
        return (f"{folder}.*", *ONE_SPACE)
    key = max((key for key in ALLOWED if matches(name, f"{key}.*")), key=len)
    own = (f"{key}.*",) if FILES[key].name == "__init__.py" and key != "cnas" else ()
    return (*own, *ALLOWED[key])


def foreign(name, path):
    """What a module imports from `cnas`, `recipes` or `tests` and may not."""
    inside = {found for found in imports(path, name) if found.split(".")[0] in {"cnas", "recipes", "tests"}}
    return sorted(found for found in inside if not any(matches(found, entry) for entry in permitted(name)))


@pytest.mark.parametrize("name", FILES)
def test_a_module_imports_only_what_it_may(name):
    assert foreign(name, FILES[name]) == []


def test_every_key_of_the_table_is_a_module_and_none_of_the_package_is_missing():
    assert set(ALLOWED) <= set(FILES)
    top = {name for name in FILES if name.count(".") == 1}
    assert top <= set(ALLOWED)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_imports_what_is_public(name):
    found = [module for module in imports(RECIPES[name], name) if module.split(".")[0] == "cnas"]
    assert not [module for module in found if any(part.startswith("_") for part in module.split("."))]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cnas.training.loop", "from cnas.spaces import EnasRnnSpace"),
        ("cnas.training.loop", "from cnas.spaces.enas_rnn.supernet import multiplied"),
        ("cnas.training.loop", "def f():\n    import cnas.algorithms.enas"),
        ("cnas.training.loop", "from ..data import streams"),
        ("cnas.curricula.base", "from cnas.spaces.base import SearchSpace"),
        ("cnas.algorithms.enas", "from cnas.curricula import Curriculum"),
        ("cnas.spaces.enas_rnn.space", "from cnas.algorithms import ENAS"),
        ("cnas.spaces.base", "from cnas.runs.pipeline import search"),
        ("cnas.errors", "import cnas.types"),
        ("cnas.runs.pipeline", "from recipes.ptb_cl_enas import smoke"),
    ],
)
def test_a_wrong_import_is_found(name, line, tmp_path):
    path = tmp_path / FILES[name].name
    path.write_text(line)
    assert len(foreign(name, path)) == 1


def travelling():
    """The files that an export copies beside the weights: every network, and its siblings."""
    waiting = [name for name in FILES if name.startswith("cnas.spaces.") and name.endswith(".modeling")]
    found = {"cnas.spaces._language_model"}
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [module for module in imports(FILES[name], name) if module.startswith("cnas.")]
    return sorted(found)


@pytest.mark.parametrize("name", travelling())
def test_a_file_that_travels_with_the_weights_needs_no_cnas(name):
    tree = ast.parse(FILES[name].read_text("utf-8"))
    absolute = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    absolute |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    assert {module.split(".")[0] for module in absolute} <= TRAVELLERS


def test_networks_and_their_siblings_travel():
    assert {"cnas.spaces.enas_rnn.modeling", "cnas.spaces.darts_rnn.modeling", "cnas.spaces._gated_cell"} <= set(
        travelling()
    )


def sources():
    return [path for part in ("recipes", "tests") for path in sorted((ROOT / part).rglob("*.py"))]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name
