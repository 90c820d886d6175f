"""The runs that a grid file asks for: which ones its recipes make of every combination of values."""

from __future__ import annotations

import itertools
import math
import os
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cnas.cli.launch import parse, with_flags
from cnas.errors import CnasError, UserError
from cnas.runs.config import RunConfig
from cnas.sweeps.grid_file import Part, read
from cnas.sweeps.many import Job, by_seed
from cnas.sweeps.random_cells import references_of

MOST = 10_000
"""A grid with more combinations than this is taken for a mistake."""
NO_MEANS_FALSE = "; YAML reads no, off, yes and on as booleans, so quote them where they are words"


@dataclass(frozen=True)
class Grid:
    """The runs of a sweep, each in a folder that bears the hash of its configuration, no two alike.

    Args:
        searches: one run per combination.
        references: random cells with the training of the searched ones.
        executors: settings by the executor's name.
    """

    searches: tuple[Job, ...]
    references: tuple[Job, ...]
    executors: Mapping[str, Mapping[str, Any]]

    @property
    def jobs(self) -> list[Job]:
        """All runs: seed by seed, so that a comparison of one seed is there first."""
        return by_seed([*self.searches, *self.references])


def read_grid(path: Path | str) -> Grid:
    """Read a grid file, and let its recipes say what each combination of flags is.

    Args:
        path: of the file.

    Raises:
        UserError: the file, a recipe, a flag or a value is wrong; one line with the file and the key.
    """
    searches: dict[str, Job] = {}
    references: dict[str, Job] = {}
    try:
        parts, executors = read(Path(path))
        for part in parts:
            found = [_job(config, about) for config, about in _cells(part)]
            for job in found:
                searches.setdefault(job.name, job)
            for config in references_of([job.config for job in found], part.random):
                job = _job(config, f"random cell, seed {config.seed}")
                references[job.name] = job
    except UserError as problem:
        raise UserError(f"grid {path}: {problem}") from problem
    kept = [job for name, job in references.items() if name not in searches]
    return Grid(tuple(searches.values()), tuple(kept), executors)


@dataclass(frozen=True)
class Recipe:
    """What makes configurations of flags: a recipe's presets, or all those that `cnas.presets` knows.

    Args:
        name: of the recipe; None where presets are named in full.
        tables: presets of several rows, by name.
        check: raises what the recipe has against a configuration.
    """

    name: str | None = None
    tables: Mapping[str, Callable[[], Mapping[str, RunConfig]]] = field(default_factory=dict)
    check: Callable[[RunConfig], None] | None = None

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a file that says ``RECIPE``, the name of its presets, or ``PRESETS``, which return rows by name.

        Its ``check``, where it has one, raises what it has against a configuration.

        Raises:
            UserError: there is no such file, it fails, or it says neither.
        """
        # Unlike the method of Path, this answers for names that no file can have.
        if not os.path.isfile(path):  # noqa: PTH113
            raise UserError(f"recipe {path} is no file; its path is relative to the grid file")
        sys.path.insert(0, str(path.parent))
        try:
            names = runpy.run_path(str(path))
        except CnasError:
            raise
        except Exception as problem:
            what = " ".join(str(problem).split())[:200]
            raise UserError(f"recipe {path} cannot be read: {type(problem).__name__}: {what}") from problem
        finally:
            sys.path.remove(str(path.parent))
        if not ("RECIPE" in names or isinstance(names.get("PRESETS"), Mapping)):
            raise UserError(f"recipe {path} has no RECIPE or PRESETS, so it is not a recipe of runs")
        return cls(names.get("RECIPE"), names.get("PRESETS", {}), names.get("check"))

    def rows(self, preset: str) -> dict[str, RunConfig]:
        """The configurations of a preset by row; a single one has an empty name.

        Args:
            preset: its name.

        Raises:
            UserError: there is no such preset.
        """
        if not self.tables:
            return {"": self._parsed(preset, "", [])}
        if preset not in self.tables:
            raise UserError(f"preset must be one of {', '.join(map(str, self.tables))}, got {str(preset)[:40]!r}")
        return dict(self.tables[preset]())

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
        return replace(config, curriculum=None) if config.curriculum and not config.curriculum.active else config

    def _parsed(self, preset: str, row: str, argv: Sequence[str]) -> RunConfig:
        config = with_flags(self.rows(preset)[row], argv) if row else parse(self.name, ["--preset", preset, *argv])[0]
        if self.check is not None:
            self.check(config)
        return config


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
    values = value if isinstance(value, list) else [value]
    return f"--{name}={','.join('none' if each is None else str(each) for each in values)}"


def _job(config: RunConfig, about: str) -> Job:
    return Job(config.default_folder.name, config, about)


def _cells(part: Part) -> Iterator[tuple[RunConfig, str]]:
    """(configuration, the values it has on the axes) of every combination; equal ones come more than once."""
    recipe = Recipe() if part.recipe is None else Recipe.load(part.recipe)
    axes = {"row": [], **part.grid} | {"row": _rows(part, list(recipe.rows(part.preset)))}
    count = math.prod(map(len, axes.values()))
    if count > MOST:
        raise UserError(f"grid must have at most {MOST:,} combinations, got {count:,}")
    some = False
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        config = _configure(recipe, part, chosen)
        some = some or config.curriculum is not None
        if config.curriculum is None:
            chosen = {name: value for name, value in chosen.items() if not name.startswith("curriculum.")}
        yield config, ", ".join(f"{name} {value}" for name, value in chosen.items() if name != "row" or value)
    given = [name for name in (*part.flags, *part.grid) if name.startswith("curriculum.")]
    if given and not some:
        raise UserError(f"{given[0]} is given, but no run has a curriculum")


def _rows(part: Part, rows: list[str]) -> list[str]:
    wanted = part.grid.get("row", rows)
    for row in wanted:
        if row not in rows:
            allowed = f"must be among {', '.join(rows)}" if rows != [""] else "must be left out: the preset is one run"
            raise UserError(f"grid.row {allowed}, got {str(row)[:40]!r}")
    return list(wanted)


def _configure(recipe: Recipe, part: Part, chosen: Mapping[str, Any]) -> RunConfig:
    flags = {**part.flags, **{name: value for name, value in chosen.items() if name != "row"}}
    try:
        return recipe.configure(part.preset, chosen["row"], flags)
    except ValueError as problem:
        hint = NO_MEANS_FALSE if str(problem).startswith("unknown flag --no-") else ""
        raise UserError(f"{problem}{hint}") from problem
