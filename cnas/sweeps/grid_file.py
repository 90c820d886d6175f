"""A grid file: YAML, read safely and checked, before any recipe is asked what it makes of the values.

Every message begins with the file and names the key, its value and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnas import strict_yaml
from cnas.errors import UserError
from cnas.fields import display
from cnas.sweeps import executors

DEFAULTS: dict[str, Any] = {"recipe": None, "preset": "cpu", "flags": {}, "grid": {}, "random": 0}
"""What a part of a grid file may say, and the file itself for all of its parts."""
SET_ELSEWHERE = ("config", "h", "help", "no_curriculum", "output_dir", "preset", "resume", "stop_after")
"""Flags of a recipe that are the sweep's own business."""
FLAG = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)*")


@dataclass(frozen=True)
class Part:
    """One preset, and every combination of some flags.

    Args:
        recipe: the path of a recipe's file; None where ``preset`` is one of `cnas.presets`.
        preset: of the recipe, or ``recipe/preset``.
        flags: of every run, by name with underscores.
        grid: lists of values by name; ``row`` chooses among the rows of a preset that has several.
        random: so many random cells for every space, training and seed.
    """

    recipe: Path | None
    preset: str
    flags: Mapping[str, Any]
    grid: Mapping[str, Sequence[Any]]
    random: int


def read(path: Path) -> tuple[tuple[Part, ...], Mapping[str, Mapping[str, Any]]]:
    """Read a file and check its form.

    Args:
        path: of the file.

    Returns:
        (the parts, whose runs together make up the sweep; settings by the executor's name).

    Raises:
        UserError: it cannot be read, is not YAML, or a key or value is not allowed.
    """
    values = strict_yaml.load(path)
    settings = _section(values, "the file", [*DEFAULTS, "parts", *executors.names()])
    shared = {key: settings.pop(key) for key in DEFAULTS if key in settings}
    parts = settings.pop("parts", [{}])
    _check(isinstance(parts, list) and parts, f"parts must be a list of mappings with {', '.join(DEFAULTS)}", parts)
    found = tuple(_part(path.parent, shared, part, f"parts[{index}]") for index, part in enumerate(parts))
    for name, value in settings.items():
        _check(isinstance(value, dict), f"{name} must be a mapping", value)
    return found, settings


def _part(folder: Path, shared: dict[str, Any], own: Any, where: str) -> Part:
    own = _section(own, where, DEFAULTS)
    both = DEFAULTS | shared | own
    recipe, preset, random = both["recipe"], both["preset"], both["random"]
    _check(isinstance(preset, str) and preset, "preset must be the name of a preset", preset)
    if recipe is not None or "/" not in preset:
        about = "recipe must be the path of a recipe, relative to the grid file"
        hint = "" if isinstance(recipe, str) else ", or preset e.g. ptb_cl_enas/smoke"
        _check(isinstance(recipe, str) and recipe, about + hint, recipe)
    _check(type(random) is int and random >= 0, "random must be a number of cells, at least 0", random)
    # What a part says of a flag goes before what is said for all parts, in whichever of the two places.
    flags, grid = _choices(own, f"{where}.")
    every, axes = _choices(shared, "")
    flags = {name: value for name, value in every.items() if name not in grid} | flags
    grid = {name: values for name, values in axes.items() if name not in flags} | grid
    for name, value in flags.items():
        check_value(name, value, f"flags.{name}")
    for name, values in grid.items():
        _check(isinstance(values, list) and values, f"grid.{name} must be a list of values", values)
        for index, value in enumerate(values):
            check_value(name, value, f"grid.{name}[{index}]")
    return Part(None if recipe is None else folder / recipe, preset, flags, grid, random)


def _choices(values: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries of ``flags`` and of ``grid``, by name with underscores, as a configuration spells it."""
    found = {part: named_flags(values.get(part, {}), f"{where}{part}") for part in ("flags", "grid")}
    if both := [name for name in found["flags"] if name in found["grid"]]:
        raise UserError(f"{where}flags.{both[0]} is in grid too; leave it in one of them")
    return found["flags"], found["grid"]


def named_flags(given: Any, where: str) -> dict[str, Any]:
    """A mapping of flags by name with underscores, as a configuration spells it; the values are not checked.

    Args:
        given: what the file says.
        where: its key, for messages.

    Raises:
        UserError: it is no mapping, or a key is no flag, one of the sweep's own, or there twice.
    """
    names: dict[str, Any] = {}
    _check(isinstance(given, dict), f"{where} must be a mapping", given)
    for key, value in given.items():
        if not (isinstance(key, str) and FLAG.fullmatch(key)):
            raise UserError(f"{where}: {display(key)} is no flag; write it without dashes before it, e.g. curriculum.k")
        name = key.replace("-", "_")
        if name.removeprefix("trainer.") in SET_ELSEWHERE:
            raise UserError(f"{where}.{key} is set by the sweep itself; leave it out")
        if name in names:
            raise UserError(f"{where}.{key} is there twice")
        names[name] = value
    return names


def _section(values: Any, where: str, known: Iterable[str]) -> dict[str, Any]:
    """A mapping that has no other keys."""
    _check(isinstance(values, dict), f"{where} must be a mapping", values)
    for key in values:
        if key not in known:
            place = "" if where == "the file" else f"{where}."
            raise UserError(f"{place}{str(key)[:40]} is no key; allowed: {', '.join(known)}")
    return dict(values)


def check_value(name: str, value: Any, where: str) -> None:
    """Refuse what no flag can be.

    Args:
        name: of the flag, with underscores.
        value: what the file says.
        where: its key, for messages.

    Raises:
        UserError: the value is of no kind that a flag has.
    """
    if name == "curriculum" and not isinstance(value, bool):
        raise UserError(f"{where} must be true or false, got {display(value)}; its fields are e.g. curriculum.k")
    simple = all(isinstance(each, str | int | float | None) for each in (value if isinstance(value, list) else [value]))
    _check(simple, f"{where} must be a number, a text, true, false, null or a list of these", value)


def _check(fits: object, allowed: str, value: Any) -> None:
    if not fits:
        raise UserError(f"{allowed}, got {display(value)}")
