"""Puts the code of a saved model beside its weights, so that it loads where this package is not installed.

`transformers` fetches such code by the relative imports it finds in it, from one folder. The siblings that a network's
file imports lie in two folders of this package, so they are found by parsing, and their imports are mended.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.abc import InspectLoader
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME

from cnas.errors import UserError
from cnas.hub.auto import BACKENDS, auto_classes

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
        >>> from cnas.spaces.enas_rnn.modeling import CnasRnnConfig, CnasRnnForCausalLM
        >>> network = CnasRnnForCausalLM(CnasRnnConfig(vocab_size=9, hidden_size=4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     network.save_pretrained(folder)
        ...     write_remote_code(folder, network)
        ['_causal_lm.py', '_cross_entropy.py', '_gated_cell.py', '_language_model.py', '_memory.py', 'modeling.py']
    """
    folder = Path(folder)
    classes = [(part, auto_classes(type(part))) for part in parts]
    files = _gather(found.__module__ for _, by_auto in classes for found in by_auto.values())
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    for part, by_auto in classes:
        auto_map: dict[str, Any] = {auto: f"{_last(of.__module__)}.{of.__name__}" for auto, of in by_auto.items()}
        if not auto_map:
            continue
        config = CONFIG_NAME
        if not isinstance(part, PreTrainedModel):
            config = IMAGE_PROCESSOR_NAME
            # By backend: `pipeline` takes a plain string for a hint at a video processor, and asks whether to trust it.
            auto_map = {auto: dict.fromkeys(BACKENDS, place) for auto, place in auto_map.items()}
        values = json.loads((folder / config).read_text("utf-8")) | {"auto_map": auto_map}
        (folder / config).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
    return sorted(files)


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
    text = None
    with suppress(ImportError, ValueError):  # what is not there; a notebook's or a script's own
        spec = importlib.util.find_spec(module)
        # A package's own file would load the whole package.
        if spec is not None and spec.submodule_search_locations is None and isinstance(spec.loader, InspectLoader):
            text = spec.loader.get_source(module)
    if text is None:
        raise UserError(f"network: what travels with it must be in a file of its own, got {module!r}")
    return text


def _siblings(module: str, text: str) -> Iterator[tuple[int, str]]:
    """The relative imports of a file: on which line, from 0, and which module."""
    package, lines = module.rpartition(".")[0], text.split("\n")
    for node in ast.walk(ast.parse(text)):
        wrong = [name for name in _absolute(node) if package and name.split(".")[0] == package.split(".")[0]]
        if isinstance(node, ast.ImportFrom) and node.level:
            line = lines[node.lineno - 1]
            # `transformers` looks for siblings by such lines, not by parsing.
            wrong += [] if _FROM.match(line) else [line.strip()]
            yield node.lineno - 1, importlib.util.resolve_name("." * node.level + str(node.module), package)
        if wrong:
            raise UserError(f"network: {module} must import siblings as 'from .name import …', got {wrong[0]!r}")


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
