"""A recipe as a sweep reads it: a file with presets, and the flags it would be started with."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnas.cli.launch import parse
from cnas.errors import CnasError, UserError
from cnas.runs.config import RunConfig

SET_ELSEWHERE = ("config", "h", "help", "no_curriculum", "output_dir", "preset", "resume")
"""Flags of a recipe that are the sweep's own business."""


@dataclass(frozen=True)
class Recipe:
    """A file whose ``PRESETS`` return a configuration, or several by name, the rows of a table.

    Args:
        path: of the file.
        names: what it defines. Its own ``parse(argv)``, where it has one, returns the configuration first.
    """

    path: Path
    names: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read the file; recipes beside it can be imported by it.

        Raises:
            UserError: there is no such file, it fails, or it has no presets.
        """
        # Unlike the method of Path, this answers for names that no file can have.
        if not os.path.isfile(path):  # noqa: PTH113
            raise UserError(f"recipe {path} is no file; its path is relative to the grid file")
        try:
            with _beside(path.parent):
                names = runpy.run_path(str(path))
        except CnasError:
            raise
        except Exception as problem:
            what = " ".join(str(problem).split())[:200]
            raise UserError(f"recipe {path} cannot be read: {type(problem).__name__}: {what}") from problem
        if not isinstance(names.get("PRESETS"), Mapping):
            raise UserError(f"recipe {path} has no PRESETS, so it is not a recipe of runs")
        return cls(path, names)

    def rows(self, preset: str) -> dict[str, RunConfig]:
        """The configurations of a preset by row; a single one has an empty name.

        Args:
            preset: its name.

        Raises:
            UserError: there is no such preset.
        """
        presets = self.names["PRESETS"]
        if preset not in presets:
            raise UserError(f"preset must be one of {', '.join(map(str, presets))}, got {str(preset)[:40]!r}")
        found = presets[preset]()
        return dict(found) if isinstance(found, Mapping) else {"": found}

    def configure(self, preset: str, row: str, flags: Mapping[str, Any]) -> RunConfig:
        """The configuration that the recipe makes of its flags.

        Args:
            preset: its name.
            row: one of `rows`.
            flags: values by name, with dots and underscores; ``curriculum`` false is the plain algorithm. What is said
                about a curriculum does not count where there is none.

        Raises:
            UserError: an unknown flag, or a value that is not allowed.
        """
        rest = {name: value for name, value in flags.items() if name != "curriculum"}
        about = {name for name in rest if name.startswith("curriculum.")}
        wanted = flags.get("curriculum")
        has = wanted is not False
        if has and (wanted or about):
            has = self._parsed(preset, row, []).curriculum is not None
        if wanted and not has:
            raise UserError(f"curriculum is true, but {row or preset} has none to switch on")
        if not has:
            rest = {name: value for name, value in rest.items() if name not in about}
        bare = ["--no-curriculum"] if wanted is False else []
        config = self._parsed(preset, row, [*bare, *words(rest)])
        # K = 0 is the plain algorithm to the bit, so it is the same run.
        return replace(config, curriculum=None) if config.curriculum and config.curriculum.k == 0 else config

    def _parsed(self, preset: str, row: str, argv: Sequence[str]) -> RunConfig:
        if own := None if row else self.names.get("parse"):
            found: RunConfig = own(["--preset", preset, *argv])[0]
            return found
        config = self.rows(preset)[row]
        return parse({preset: lambda: config}, argv, preset)[0]


def words(flags: Mapping[str, Any]) -> list[str]:
    """Flags as they are typed, each in one word.

    Args:
        flags: values by name: numbers, texts, booleans, None, and lists of these.

    Example:
        >>> words({"seed": 2, "search.unrolled": False, "log_with": None, "sizes": [1, 2]})
        ['--seed=2', '--no-search.unrolled', '--log-with=none', '--sizes=1,2']
    """
    return [_word(name.replace("_", "-"), value) for name, value in flags.items()]


def _word(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name}={','.join(map(_text, value)) if isinstance(value, list) else _text(value)}"


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Modules of the folder can be imported while the context lasts."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
