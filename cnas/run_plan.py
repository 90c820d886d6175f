"""Which runs make up a table: its rows with every seed, and random cells that are trained alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cnas.errors import UserError
from cnas.rng import generator
from cnas.run_config import RunConfig
from cnas.run_many import Job

Rows = dict[str, RunConfig]
"""The configuration of every row of a table, by the row's name."""


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
        spaces = {config.space.name: replace(config, curriculum=None) for config in self.rows.values()}
        return {
            space: [
                Job(f"random-{space}-{index}-s{seed}", _given(_seeded(config, seed), architecture))
                for seed in self.seeds
                for index, architecture in enumerate(_draw(config, seed, self.random), 1)
            ]
            for space, config in spaces.items()
        }

    def jobs(self) -> list[Job]:
        """All runs: seed by seed, so that a table of one seed is there first."""
        every = [job for jobs in [*self.searches().values(), *self.references().values()] for job in jobs]
        return sorted(every, key=lambda job: self.seeds.index(job.config.options.seed))


def _seeded(config: RunConfig, seed: int) -> RunConfig:
    return replace(config, options=replace(config.options, seed=seed))


def _given(config: RunConfig, architecture: str) -> RunConfig:
    return replace(config, options=replace(config.options, architecture=architecture))


def _draw(config: RunConfig, seed: int, count: int) -> list[str]:
    space = config.space
    if count > space.size:
        raise UserError(f"random must be at most {space.size}, the architectures of {space.name}, got {count}")
    found: dict[str, None] = {}
    attempt = 0
    while len(found) < count:
        found[space.sample(generator(seed, f"plan/{space.name}", attempt)).to_str()] = None
        attempt += 1
    return list(found)
