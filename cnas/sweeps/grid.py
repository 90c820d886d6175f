"""The runs that a grid file asks for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.sweeps.grid_file import Part, read
from cnas.sweeps.many import Job
from cnas.sweeps.plan import references_of
from cnas.sweeps.recipe import Recipe

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
        every = [*self.searches, *self.references]
        seeds = list(dict.fromkeys(job.config.options.seed for job in every))
        return sorted(every, key=lambda job: seeds.index(job.config.options.seed))


def read_grid(path: Path | str) -> Grid:
    """Read a grid file, and let its recipes say what each combination of flags is.

    Args:
        path: of the file.

    Raises:
        UserError: the file, a recipe, a flag or a value is wrong; one line with the file and the key.
    """
    try:
        file = read(Path(path))
        searches: dict[str, Job] = {}
        references: dict[str, Job] = {}
        for part in file.parts:
            found = [_job(config, about) for config, about in _cells(part)]
            searches |= {job.name: job for job in found if job.name not in searches}
            random = references_of([job.config for job in found], part.random)
            references |= {
                job.name: job for job in (_job(config, f"random cell, seed {config.options.seed}") for config in random)
            }
    except UserError as problem:
        raise UserError(f"grid {path}: {problem}") from problem
    kept = [job for name, job in references.items() if name not in searches]
    return Grid(tuple(searches.values()), tuple(kept), file.executors)


def _job(config: RunConfig, about: str) -> Job:
    return Job(config.default_folder.name, config, about)


def _cells(part: Part) -> Iterator[tuple[RunConfig, str]]:
    """(configuration, the values it has on the axes) of every combination; equal ones come more than once."""
    recipe = Recipe.load(part.recipe)
    rows = recipe.rows(part.preset)
    axes = {"row": _rows(part, list(rows)), **{name: values for name, values in part.grid.items() if name != "row"}}
    count = math.prod(map(len, axes.values()))
    if count > MOST:
        raise UserError(f"grid must have at most {MOST:,} combinations, got {count:,}")
    some = False
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        row = chosen.pop("row")
        config = _configure(recipe, part, row, chosen)
        some = some or config.curriculum is not None
        yield config, _about(({"row": row} if row else {}) | chosen, config)
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


def _configure(recipe: Recipe, part: Part, row: str, chosen: Mapping[str, Any]) -> RunConfig:
    flags = {**part.flags, **chosen}
    try:
        return recipe.configure(part.preset, row, flags)
    except ValueError as problem:
        hint = NO_MEANS_FALSE if str(problem).startswith("unknown flag --no-") else ""
        raise UserError(f"{problem}{hint}") from problem


def _about(chosen: Mapping[str, Any], config: RunConfig) -> str:
    shown = {
        name: value
        for name, value in chosen.items()
        if config.curriculum is not None or not name.startswith("curriculum.")
    }
    return ", ".join(f"{name} {value}" for name, value in shown.items())
