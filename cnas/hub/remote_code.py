"""Puts the code of a saved model beside its weights, so that it loads where this package is not installed.

`transformers` fetches such code by the relative imports it finds in it, from one folder. The siblings that a network's
file imports lie in two folders of this package, so they are found by parsing, and their imports are mended.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from importlib.abc import InspectLoader
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME

from cnas.errors import UserError
from cnas.hub.auto import BACKENDS, auto_classes

_SIBLING = re.compile(r"^\s*from\s+\.(\w+)\s+import\b", re.MULTILINE)
_FROM = re.compile(r"^(\s*from\s+)\.+[A-Za-z_][\w.]*(?=\s+import\b)")


def write_remote_code(folder: str | Path, *parts: Any) -> list[str]:
    """Make what was saved into ``folder`` loadable by ``trust_remote_code=True`` without this package.

    The file of each part's class, and every sibling it imports, is copied beside the weights; ``auto_map`` goes into
    ``config.json`` or ``preprocessor_config.json``. Where the package is installed, its registered classes are used
    all the same, and no copy is run.

    `save_model` and `save_network` do this already; it is for what ``save_pretrained`` or a trainer has written.

    Args:
        folder: where ``save_pretrained`` of every part has written.
        parts: models, image processors, tokenizers; the classes of `transformers` itself need no code.

    Returns:
        The names of the copied files, sorted.

    Raises:
        UserError: a file has no source, imports its own package by its absolute name, a package in place of a file of
            it, or siblings of the same name. Nothing is written then.
        OSError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> from cnas.spaces.enas_rnn.network import CnasRnnConfig, CnasRnnForCausalLM
        >>> network = CnasRnnForCausalLM(CnasRnnConfig(vocab_size=9, hidden_size=4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     network.save_pretrained(folder)
        ...     write_remote_code(folder, network)
        ['_causal_lm.py', '_gated_cell.py', '_language_model.py', '_memory.py', 'network.py']
    """
    folder = Path(folder)
    classes = [(part, auto_classes(type(part))) for part in parts]
    files = _gather(found.__module__ for _, by_auto in classes for found in by_auto.values())
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    for part, by_auto in classes:
        places = {auto: f"{_last(found.__module__)}.{found.__name__}" for auto, found in by_auto.items()}
        if not places:
            continue
        if isinstance(part, PreTrainedModel):
            _write_auto_map(folder / CONFIG_NAME, places)
        else:
            # By backend: `pipeline` takes a plain string for a hint at a video processor, and asks whether to trust it.
            by_backend = {auto: dict.fromkeys(BACKENDS, place) for auto, place in places.items()}
            _write_auto_map(folder / IMAGE_PROCESSOR_NAME, by_backend)
    return sorted(files)


def _write_auto_map(path: Path, places: Mapping[str, Any]) -> None:
    values = json.loads(path.read_text("utf-8")) | {"auto_map": places}
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")


def _gather(modules: Iterator[str]) -> dict[str, str]:
    """By file name, the mended text of ``modules`` and of all that they import from their own package."""
    waiting, found = list(modules), {}
    while waiting:
        module = waiting.pop()
        if module not in found:
            text = _source(module)
            siblings = dict(_siblings(module, text))
            found[module] = _mended(text, siblings)
            waiting += siblings.values()
    names = [f"{_last(module)}.py" for module in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"network: siblings that travel with it must differ in name, got {name} twice")
    return dict(zip(names, found.values(), strict=True))


def _last(module: str) -> str:
    return module.rpartition(".")[2]


def _source(module: str) -> str:
    try:
        spec = importlib.util.find_spec(module)
        # A package's own file would load the whole package.
        if spec is not None and spec.submodule_search_locations is None and isinstance(spec.loader, InspectLoader):
            text = spec.loader.get_source(module)
            if text is not None:
                return text
    except (ImportError, ValueError):  # what is not there; a notebook's or a script's own
        pass
    raise UserError(f"network: what travels with it must be in a file of its own, got {module!r}")


def _siblings(module: str, text: str) -> Iterator[tuple[int, str]]:
    """The relative imports of a file: on which line, from 0, and which module."""
    package, lines = module.rpartition(".")[0], text.split("\n")
    for node in ast.walk(ast.parse(text)):
        for name in _absolute(node):
            if package and name.partition(".")[0] == package.partition(".")[0]:
                raise UserError(f"network: {module} must import siblings as 'from .name import …', got {name!r}")
        if isinstance(node, ast.ImportFrom) and node.level:
            line = lines[node.lineno - 1]
            # `transformers` looks for siblings by such lines, not by parsing.
            if not _FROM.match(line):
                raise UserError(
                    f"network: {module} must import siblings as 'from .name import …', got {line.strip()!r}"
                )
            yield node.lineno - 1, importlib.util.resolve_name("." * node.level + str(node.module), package)


def _absolute(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []


def _mended(text: str, siblings: dict[int, str]) -> str:
    """The text, its siblings all in one folder."""
    lines = text.split("\n")
    for number, sibling in siblings.items():
        lines[number] = _FROM.sub(rf"\1.{_last(sibling)}", lines[number])
    return "\n".join(lines)


def model_code(folder: Path) -> set[str]:
    """The names of the files that ``auto_map`` names, and of all that they import from beside them.

    Args:
        folder: what `save_network` has written; one without ``auto_map`` has no code.
    """
    waiting, found = [name for config in (CONFIG_NAME, IMAGE_PROCESSOR_NAME) for name in _named(folder / config)], set()
    while waiting:
        name = waiting.pop()
        if name not in found and (folder / name).is_file():
            found.add(name)
            waiting += [f"{sibling}.py" for sibling in _SIBLING.findall((folder / name).read_text("utf-8", "replace"))]
    return found


def _named(config: Path) -> Iterator[str]:
    """The files in ``auto_map``, which has ``file.Class`` for every Auto class, or for each of its backends."""
    try:
        places = json.loads(config.read_text("utf-8"))["auto_map"].values()
    except (OSError, ValueError, LookupError, RecursionError, TypeError, AttributeError):
        return
    for place in places:
        for path in place.values() if isinstance(place, dict) else [place]:
            yield f"{str(path).partition('.')[0]}.py"
