"""Which runs make up a table: its rows with every seed, and random cells that are trained alike."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cnas.errors import UserError
from cnas.random import generator
from cnas.runs.config import RunConfig
from cnas.sweeps.many import Job

Rows = dict[str, RunConfig]
"""The configuration of every row of a table, by the row's name."""
SEARCH = ("version", "recipe", "preset", "seed", "architecture", "space", "search", "trainer", "curriculum")
"""Fields of a configuration on which the training of a given architecture does not depend."""


@dataclass(frozen=True)
class Plan:
    """Which runs make up the table.

    Args:
        rows: configurations by row name; their own seeds do not count.
        seeds: every row is run with each of them.
        random: so many random cells of each space are trained for each seed.
    """

    rows: Rows
    seeds: tuple[int, ...]
    random: int

    def searches(self) -> dict[str, list[Job]]:
        """The runs of every row, one per seed."""
        return {
            name: [Job(f"{name}-s{seed}", _seeded(config, seed)) for seed in self.seeds]
            for name, config in self.rows.items()
        }

    def references(self) -> dict[str, list[Job]]:
        """The random cells by space, trained as the found ones are; drawn from the seed, no two alike."""
        spaces = {config.space.name: config for config in self.rows.values()}
        return {
            space: [
                Job(f"random-{space}-{index}-s{seed}", cell)
                for seed in self.seeds
                for index, cell in enumerate(random_cells(_seeded(config, seed), self.random), 1)
            ]
            for space, config in spaces.items()
        }

    def jobs(self) -> list[Job]:
        """All runs: seed by seed, so that a table of one seed is there first."""
        every = [job for jobs in [*self.searches().values(), *self.references().values()] for job in jobs]
        return sorted(every, key=lambda job: self.seeds.index(job.config.options.seed))


def random_cells(config: RunConfig, count: int) -> list[RunConfig]:
    """The same training for architectures drawn at random from the seed, no two alike.

    Args:
        config: whose space, training and seed they have; nothing is searched, so there is no curriculum.
        count: how many.

    Raises:
        UserError: the space does not have so many architectures.
    """
    plain = replace(config, curriculum=None)
    drawn = _draw(config, count)
    return [replace(plain, options=replace(plain.options, architecture=architecture)) for architecture in drawn]


def references_of(searches: Iterable[RunConfig], count: int) -> list[RunConfig]:
    """Random cells for searches of any kind: ``count`` for every space, training and seed among them.

    Args:
        searches: configurations; those with a given architecture have no need of random ones.
        count: how many for each.

    Raises:
        UserError: as `random_cells`.
    """
    kinds = {_kind(config): config for config in searches if config.options.architecture is None}
    return [cell for config in kinds.values() for cell in random_cells(config, count)]


def _kind(config: RunConfig) -> str:
    """What two searches share whose cells may be compared with the same random ones."""
    kept = {name: value for name, value in config.plainly_spelled().to_json().items() if name not in SEARCH}
    return json.dumps([config.options.seed, config.space.name, config.space.size, kept], sort_keys=True)


def _seeded(config: RunConfig, seed: int) -> RunConfig:
    return replace(config, options=replace(config.options, seed=seed))


def _draw(config: RunConfig, count: int) -> list[str]:
    space = config.space
    if count > space.size:
        raise UserError(f"random must be at most {space.size}, the architectures of {space.name}, got {count}")
    found: dict[str, None] = {}
    attempt = 0
    while len(found) < count:
        found[space.sample(generator(config.options.seed, f"plan/{space.name}", attempt)).to_str()] = None
        attempt += 1
    return list(found)
