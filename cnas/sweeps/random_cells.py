"""Architectures drawn at random, trained as the found ones are: what a search has to beat."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from cnas.errors import UserError
from cnas.random import generator
from cnas.runs.config import RunConfig

SEARCH = ("version", "recipe", "preset", "architecture", "space", "search", "trainer", "curriculum")
"""Fields of a configuration on which the training of a given architecture does not depend."""

TRIES = 30
"""Draws for each architecture wanted; of all there are, the last ones take the most."""


def random_cells(config: RunConfig, count: int) -> list[RunConfig]:
    """The same training for architectures drawn at random from the seed, no two alike.

    Args:
        config: whose space, training and seed they have; nothing is searched, so there is no curriculum.
        count: how many.

    Raises:
        UserError: the space does not have so many architectures.
    """
    space, plain = config.space, replace(config, curriculum=None)
    drawn: dict[str, None] = {}
    for attempt in range(TRIES * count if count <= space.size else 0):
        drawn[space.sample(generator(config.seed, f"plan/{space.name}", attempt)).to_str()] = None
        if len(drawn) == count:
            break
    if len(drawn) < count:
        most = len(drawn) or space.size
        raise UserError(f"random must be at most {most}, the architectures of {space.name}, got {count}")
    return [replace(plain, architecture=architecture) for architecture in drawn]


def references_of(searches: Iterable[RunConfig], count: int) -> list[RunConfig]:
    """Random cells for searches of any kind: ``count`` for every space, training and seed among them.

    Args:
        searches: configurations; those with a given architecture have no need of random ones.
        count: how many for each.

    Raises:
        UserError: as `random_cells`.
    """
    kinds = {_kind(config): config for config in searches if config.architecture is None}
    return [cell for config in kinds.values() for cell in random_cells(config, count)]


def _kind(config: RunConfig) -> str:
    """What two searches share whose cells may be compared with the same random ones."""
    kept = {name: value for name, value in config.plainly_spelled().to_json().items() if name not in SEARCH}
    loop, space = config.trainer, config.space
    return json.dumps([loop.seed, loop.mixed_precision, loop.tf32, space.name, space.size, kept], sort_keys=True)
