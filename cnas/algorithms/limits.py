"""Limits on what an architecture may cost: ``search.limit``, for algorithms that compare whole architectures.

A limited space has fewer architectures and is the same otherwise, so an algorithm that asks its space for architectures
needs nothing else. What an architecture costs, and under which names, its space says (`SearchSpace.costs`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch

from cnas.algorithms._candidates import LISTED, every
from cnas.algorithms.base import AlgorithmConfig
from cnas.errors import UserError
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

TRIES = 100
"""Random draws before one of them is made smaller until it is within the limits."""
_LIMIT = re.compile(r"\s*(\w+)\s*<=\s*(\S+)\s*", re.ASCII)


def parse_limits(text: str) -> dict[str, float]:
    """The largest value of each cost that a limit names.

    Raises:
        UserError: it is no limit.

    Example:
        >>> parse_limits("parameters<=2e6,latency_ms<=3")
        {'parameters': 2000000.0, 'latency_ms': 3.0}
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        match = _LIMIT.fullmatch(part)
        try:
            most = float(match[2]) if match else math.nan
        except ValueError:
            most = math.nan
        if match is None or not math.isfinite(most) or match[1] in found:
            allowed = "costs with their largest values, each once, such as parameters<=2e6,flops<=1e6, or none"
            raise UserError(f"search.limit is {text[:60]!r}; allowed: {allowed}")
        found[match[1]] = most
    return found


def check_costs(space: SearchSpace, names: Iterable[str], field: str) -> None:
    """Raise a `UserError` where a field names a cost that the architectures of a space do not have.

    Args:
        space: whose costs are meant.
        names: of costs.
        field: of the configuration, for the message.
    """
    known = space.costs(space.architecture([decision.options[0] for decision in space.decisions()]))
    for name in names:
        if name not in known:
            if name in space.measurable:
                raise UserError(f"search.{field} names {name}, which must be measured: see SearchSpace.measured")
            has = f"has {', '.join(known)}" if known else "cannot tell what an architecture costs"
            raise UserError(f"search.{field} names {name!r:.60}, but space {space.name} {has}")


def limited(space: SearchSpace, limits: Mapping[str, float]) -> SearchSpace:
    """The architectures of a space that cost at most so much; the space itself where there are no limits.

    Args:
        space: of sizes.
        limits: the largest value of each cost.

    Raises:
        UserError: the space has no such cost, or no architecture within the limits.
    """
    if not limits:
        return space
    check_costs(space, limits, "limit")
    found = LimitedSpace(space, limits)
    smallest, largest = space.extremes()
    if not found.within(smallest):
        ends = [f"{one} with {_listed(space.costs(one), limits)}" for one in (smallest, largest)]
        wanted = ",".join(f"{name}<={most:g}" for name, most in limits.items())
        raise UserError(
            f"search.limit is {wanted}, which no architecture of {space.name} meets: the smallest is {ends[0]}, "
            f"the largest {ends[1]}"
        )
    return cast(SearchSpace, found)


def _listed(costs: Mapping[str, float], names: Iterable[str]) -> str:
    return " and ".join(f"{costs[name]:,.6g} {name}" for name in names)


class LimitedSpace:
    """A space in which only architectures within limits count as connected; all else is as the space has it.

    Args:
        space: of sizes, where a smaller one costs no more.
        limits: the largest value of each cost; the smallest architecture is within them.
    """

    def __init__(self, space: SearchSpace, limits: Mapping[str, float]) -> None:
        self.unlimited, self.limits = space, limits

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.unlimited, name)

    def within(self, architecture: Architecture) -> bool:
        """Whether no cost is above its limit."""
        costs = self.unlimited.costs(architecture)
        return all(costs[name] <= most for name, most in self.limits.items())

    def is_connected(self, architecture: Architecture) -> bool:
        """Whether the architecture is within the limits, and connected."""
        return self.within(architecture) and self.unlimited.is_connected(architecture)

    @cached_property
    def members(self) -> list[Architecture]:
        """All architectures that are left; none of a large space, which is not listed."""
        return [] if self.unlimited.size > LISTED else [one for one in every(self.unlimited) if self.within(one)]

    @property
    def size(self) -> int:
        """How many architectures are left; of a large space, how many there were."""
        return len(self.members) or self.unlimited.size

    def sample(self, generator: torch.Generator) -> Architecture:
        """One architecture, uniformly at random; one that was made smaller where little of a large space is left."""
        if self.members:
            return self.members[int(torch.randint(len(self.members), (), generator=generator))]
        for _ in range(TRIES):
            drawn = self.unlimited.sample(generator)
            if self.is_connected(drawn):
                return drawn
        choices, smallest = list(drawn.choices), self.unlimited.extremes()[0].choices
        for place in torch.randperm(len(choices), generator=generator).tolist():
            choices[place] = smallest[place]
            if self.is_connected(made := self.unlimited.architecture(choices)):
                break
        return made


@dataclass(frozen=True, kw_only=True)
class LimitedConfig(AlgorithmConfig):
    """Base of the hyper-parameters of algorithms that keep to a limit."""

    limit: str | None = None
    """What an architecture may cost, e.g. parameters<=2e6,latency_ms<=3; only such are considered."""

    @property
    def limits(self) -> dict[str, float]:
        """The largest value of each cost."""
        return {} if self.limit is None else parse_limits(self.limit)

    @property
    def cost_names(self) -> tuple[str, ...]:
        """See `AlgorithmConfig.cost_names`."""
        return tuple(self.limits)

    def build(self, space: SearchSpace, seed: int) -> Any:
        """See `AlgorithmConfig.build`.

        Raises:
            UserError: the limit is none, names no cost of the space, or is one that no architecture meets.
        """
        return super().build(limited(space, self.limits), seed)
