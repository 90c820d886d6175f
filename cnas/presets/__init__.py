"""Presets: configurations of runs as YAML files, ``<recipe>/<preset>.yaml``, each saying only what is no default.

The entry ``base`` names a preset whose entries hold as well, where the file says nothing else. Another distribution
adds presets with an entry point of the group ``cnas.presets``: its name is that of the recipe, its value a package with
YAML files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnas.errors import UserError
from cnas.fields import display, nearest
from cnas.registry import plugins
from cnas.strict_yaml import load as load_yaml

GROUP = "cnas.presets"
"""Of entry points."""


def names() -> list[str]:
    """The names of all presets, sorted.

    Example:
        >>> "ptb_cl_enas/smoke" in names()
        True
    """
    return sorted(_files())


def find(name: str) -> dict[str, Any]:
    """The entries of a preset, those of its base among them: what `RunConfig.assemble` takes.

    Args:
        name: ``recipe/preset``.

    Raises:
        UserError: there is none of that name, or its file is wrong.

    Example:
        >>> find("ptb_cl_enas/smoke")["space"]
        {'name': 'enas_rnn', 'hidden_size': 32, 'dropout_words': 0.0, ...
    """
    recipe, _, preset = name.partition("/")
    return {**_entries(name), "recipe": recipe, "preset": preset}


def read(file: Path) -> dict[str, Any]:
    """The entries of a YAML file of a user, those of its base among them.

    Raises:
        UserError: it cannot be read, is not YAML, or names a base that is not there.
    """
    return _resolved(file, ())


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``own`` over those of ``base``, mapping by mapping; one of another ``name`` is replaced whole.

    Example:
        >>> merged({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
        {'a': {'x': 1, 'y': 3}}
        >>> merged({"search": {"name": "enas", "updates": 6}}, {"search": {"name": "rsps"}})
        {'search': {'name': 'rsps'}}
    """
    if "name" in own and own["name"] != base.get("name", own["name"]):
        return dict(own)
    found = dict(base)
    for key, value in own.items():
        before = found.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        found[key] = merged(before, value) if both else value  # type: ignore[arg-type]
    return found


def _entries(name: str, seen: Sequence[str] = ()) -> dict[str, Any]:
    files = _files()
    if name not in files:
        near = nearest(name, files)
        raise UserError(f"preset must be one of {', '.join(sorted(files))}, got {display(name)}{near}")
    if name in seen:
        raise UserError(f"preset {name} is its own base")
    return _resolved(files[name], (*seen, name))


def _resolved(file: Path, seen: Sequence[str]) -> dict[str, Any]:
    """The entries of a file over those of its base."""
    try:
        entries = load_yaml(file)
        if not isinstance(entries, dict):
            raise UserError(f"it must be a mapping, got {display(entries)}")
        base = entries.pop("base", None)
        if base is not None and not isinstance(base, str):
            raise UserError(f"base must be the name of a preset, got {display(base)}")
        return entries if base is None else merged(_entries(base, seen), entries)
    except UserError as problem:
        raise UserError(f"{file.name if seen else file}: {problem}") from problem


def _files() -> dict[str, Path]:
    """The file of every preset, by name."""
    folders = {path.name: path for path in Path(__file__).parent.iterdir() if path.is_dir()}
    for name, path in _plugged_in():
        if name in folders:
            raise UserError(f"entry point {name} of {GROUP}: there are presets of that name already")
        folders[name] = path
    return {f"{name}/{file.stem}": file for name, folder in folders.items() for file in folder.glob("*.yaml")}


def _plugged_in() -> Iterator[tuple[str, Path]]:
    """The presets of other distributions: (recipe, folder)."""
    for point in plugins(GROUP):
        try:
            yield point.name, Path(next(iter(point.load().__path__)))
        except Exception as problem:
            owner = point.dist.name if point.dist else point.value
            what = " ".join(str(problem).split())[:200]
            raise UserError(
                f"presets {point.name} of {owner} cannot be read: {type(problem).__name__}: {what}"
            ) from problem
