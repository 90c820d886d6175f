"""A grid file: YAML, read safely and checked, before any recipe is asked what it makes of the values.

Every message begins with the file and names the key, its value and what is allowed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cnas.errors import UserError
from cnas.sweeps import executors
from cnas.sweeps.recipe import SET_ELSEWHERE

KEYS = ("recipe", "preset", "flags", "grid", "random")
"""What a part of a grid file may say, and the file itself for all of its parts."""
LARGEST = 256 << 10
"""Bytes of a grid file."""
FLAG = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)*")


@dataclass(frozen=True)
class Part:
    """One recipe, and every combination of some of its flags.

    Args:
        recipe: the path of its file.
        preset: of the recipe.
        flags: of every run, by name with underscores.
        grid: lists of values by name; ``row`` chooses among the rows of a preset that has several.
        random: so many random cells for every space, training and seed.
    """

    recipe: Path
    preset: str
    flags: Mapping[str, Any]
    grid: Mapping[str, Sequence[Any]]
    random: int


@dataclass(frozen=True)
class GridFile:
    """What a grid file says.

    Args:
        parts: their runs together make up the sweep.
        executors: settings by the executor's name.
    """

    parts: tuple[Part, ...]
    executors: Mapping[str, Mapping[str, Any]]


def read(path: Path) -> GridFile:
    """Read a file and check its form.

    Args:
        path: of the file.

    Raises:
        UserError: it cannot be read, is not YAML, or a key or value is not allowed.
    """
    values = _mapping(_load(path), "the file")
    known = (*KEYS, "parts", *executors.names())
    _check_keys(values, known, "")
    shared = {key: values[key] for key in KEYS if key in values}
    parts = values.get("parts", [{}])
    if not isinstance(parts, list) or not parts:
        raise UserError(f"parts must be a list of mappings with {', '.join(KEYS)}, got {_shown(parts)}")
    found = tuple(_part(path.parent, shared, part, index) for index, part in enumerate(parts))
    return GridFile(found, {name: _mapping(values[name], name) for name in executors.names() if name in values})


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UserError(f"it is larger than {LARGEST >> 10} KiB")
        return yaml.load(data.decode(), _Strict)
    except UserError:
        raise
    except OSError as problem:
        raise UserError(f"it cannot be read: {problem.strerror}") from problem
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError) as problem:
        raise UserError(f"it is not YAML: {' '.join(str(problem).split())[:200]}") from problem


class _Strict(yaml.SafeLoader):
    """The safe loader without aliases, which can unfold into any size; a key that is there twice is refused too.

    The second key would silently win.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node, which must be written out."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem=f"alias *{event.anchor}: write it out", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if repeated := next((key for key, count in Counter(keys).items() if count > 1), None):
            raise yaml.MarkedYAMLError(problem=f"key {repeated!r} is there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def _part(folder: Path, shared: Mapping[str, Any], own: Any, index: int) -> Part:
    where = f"parts[{index}]."
    own = _mapping(own, where.rstrip("."))
    _check_keys(own, KEYS, where)
    ours, theirs = _settings(own, where), _settings(shared, "")
    # What a part says of a flag goes before what is said for all parts, in whichever of the two places.
    flags = {name: value for name, value in theirs[0].items() if name not in ours[1]} | ours[0]
    grid = {name: values for name, values in theirs[1].items() if name not in ours[0]} | ours[1]
    rest = {**shared, **own}
    return Part(
        recipe=folder / _text(rest.get("recipe"), "recipe", "the path of a recipe, relative to the grid file"),
        preset=_text(rest.get("preset", "cpu"), "preset", "the name of a preset"),
        flags={name: _value(name, value, f"flags.{name}") for name, value in flags.items()},
        grid={name: _axis(name, values) for name, values in grid.items()},
        random=_count(rest.get("random", 0), "random"),
    )


def _settings(values: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries of ``flags`` and of ``grid``."""
    flags, grid = (_flags(values.get(key, {}), f"{where}{key}") for key in ("flags", "grid"))
    if both := [name for name in flags if name in grid]:
        raise UserError(f"{where}flags.{both[0]} is in grid too; leave it in one of them")
    return flags, grid


def _flags(values: Any, where: str) -> dict[str, Any]:
    """The values by name with underscores, as a configuration spells it."""
    found: dict[str, Any] = {}
    for key, value in _mapping(values, where).items():
        name = key.replace("-", "_") if isinstance(key, str) and FLAG.fullmatch(key) else None
        if name is None:
            raise UserError(f"{where}: {_shown(key)} is no flag; write it without dashes before it, e.g. curriculum.k")
        if name in SET_ELSEWHERE:
            raise UserError(f"{where}.{key} is set by the sweep itself; leave it out")
        if name in found:
            raise UserError(f"{where}.{key} is there twice")
        found[name] = value
    return found


def _mapping(value: Any, where: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a mapping, got {_shown(value)}")
    return value


def _check_keys(values: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise UserError(f"{where}{str(key)[:40]} is no key; allowed: {', '.join(known)}")


def _axis(name: str, values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise UserError(f"grid.{name} must be a list of values, got {_shown(values)}")
    return [_value(name, value, f"grid.{name}[{index}]") for index, value in enumerate(values)]


def _value(name: str, value: Any, where: str) -> Any:
    if name == "curriculum" and not isinstance(value, bool):
        raise UserError(f"{where} must be true or false, got {_shown(value)}; its fields are e.g. curriculum.k")
    if not all(isinstance(each, str | int | float | None) for each in (value if isinstance(value, list) else [value])):
        raise UserError(f"{where} must be a number, a text, true, false, null or a list of these, got {_shown(value)}")
    return value


def _text(value: Any, where: str, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise UserError(f"{where} must be {what}, got {_shown(value)}")
    return value


def _count(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UserError(f"{where} must be a number of cells, at least 0, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    try:
        return " ".join(repr(value).split())[:60]
    except ValueError:  # Python does not print numbers of thousands of digits
        return f"a {type(value).__name__} too long to be shown"
