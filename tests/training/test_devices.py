"""The package names no device but in one file, and runs on any; only unpickle.py reads pickles, none writes them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEVICES = {"cpu", "cuda", "mps", "xpu", "hip", "npu", "tpu", "xla"}
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
PLACING = {"to", "device", "autocast", "set_default_device", "Generator", "type"}
READER = ROOT / "cnas" / "data" / "unpickle.py"
"""Opens the pickles of others, by a list of what may be in them: see tests/data/test_unpickle.py."""
GRAPHS = ROOT / "cnas" / "training" / "cuda_graphs.py"
"""Records CUDA graphs, which nothing else has; elsewhere it does nothing."""
EXCEPTIONS = {READER, GRAPHS}
SOURCES = [path for part in ("cnas", "recipes") for path in sorted((ROOT / part).rglob("*.py"))]
SOURCES = [path for path in SOURCES if path not in EXCEPTIONS]


def is_device(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.split(":")[0] in DEVICES


def called(node):
    """The last word of what is called: ``to`` in ``model.to(...)``."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def problem(node):
    """What is wrong with one node of a file, or None."""
    found = None
    match node:
        case ast.Call() if isinstance(node.func, ast.Attribute) and called(node) in DEVICES:
            found = f".{called(node)}() moves data to a device by name"
        case ast.Call() if called(node) in PLACING and any(is_device(argument) for argument in node.args):
            found = f"{called(node)}() is given a device by name"
        case ast.keyword(arg=("device" | "device_type" | "map_location" | "device_map")) if is_device(node.value):
            found = f"{node.arg}= is given a device by name"
        case ast.Compare() if any(is_device(side) for side in [node.left, *node.comparators]):
            found = "a branch on the name of a device"
        case ast.Attribute(value=ast.Name(id="torch"), attr=("cuda" | "mps" | "xpu" | "save" | "load" | "cpu")):
            found = f"torch.{node.attr}"
        case ast.Import() if {alias.name.split(".")[0] for alias in node.names} & PICKLES:
            found = "imports a pickler"
        case ast.ImportFrom() if (node.module or "").split(".")[0] in PICKLES:
            found = "imports from a pickler"
        case ast.ImportFrom(module="torch") if {alias.name for alias in node.names} & {"save", "load", "cuda"}:
            found = "imports what names a device or pickles"
    return found


def problems(text):
    found = ((node, problem(node)) for node in ast.walk(ast.parse(text)))
    return [f"line {getattr(node, 'lineno', '?')}: {reason}" for node, reason in found if reason]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_names_no_device_and_pickles_nothing(path):
    assert problems(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "model.cuda()",
        "losses.detach().cpu().tolist()",
        "model.to('cuda:1')",
        "torch.device('cpu')",
        "torch.zeros(3, device='mps')",
        "torch.autocast(device_type='cpu')",
        "torch.autocast('cpu')",
        "torch.cuda.is_available()",
        "if tensor.device.type == 'cuda': pass",
        "import pickle",
        "from pickle import dumps",
        "torch.save(state, path)",
        "from torch import load",
    ],
)
def test_a_device_or_a_pickle_is_found(line):
    assert len(problems(line)) >= 1


@pytest.mark.parametrize("line", ["PRESETS = {'cpu': cpu}", "x.to(accelerator.device)", "main(default='cpu')"])
def test_other_words_are_none(line):
    assert problems(line) == []
