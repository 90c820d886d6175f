"""K architectures on one batch without gradient; what several have in common is computed once.

Two candidates share a node where all that leads to it is the same. Statistics are of a candidate, never across them:
what is shared is the same for each of them.

Legend: B images, C channels, P pixels of this process, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cnas.spaces._memory import SpareMemory
from cnas.spaces.nats.fan import FanRun, Rooms
from cnas.spaces.nats.norm import Pixels, images, pixels
from cnas.spaces.nats.plan import Plan, join_fan
from cnas.spaces.nats.topology import EDGES, OUTPUT
from cnas.spaces.nats.total import Total
from cnas.types import Choice

Term = tuple[int, int, int]
"""(source, edge, operation): sources are known by where their values stand in a list."""


class Shared:
    """Values [P, C] of several candidates, each of them once.

    Args:
        values: those that differ.
        places: per candidate, which of ``values`` is its own.
    """

    def __init__(self, values: Sequence[Tensor], places: Sequence[int]) -> None:
        self.values, self.places = list(values), list(places)

    def each(self, function: Callable[[Tensor], Tensor]) -> Shared:
        """``function`` of every value."""
        return Shared([function(value) for value in self.values], self.places)

    def all(self) -> list[Tensor]:
        """One value per candidate."""
        return [self.values[place] for place in self.places]


def run_candidates(
    inputs: Shared, plans: Sequence[Plan], kernel: Callable[[Choice], Tensor], over: Pixels, memory: SpareMemory
) -> Shared:
    """One cell of every candidate.

    Args:
        inputs: images [B, C, height, width], channels last in memory.
        plans: per candidate, what is run, all with weight 1.
        kernel: that of a pair.
        over: the pixels to normalise over.
        memory: where to work.
    """
    shape = inputs.values[0].shape
    known = [pixels(value) for value in inputs.values]
    spare = memory.lend([(3, *known[0].shape)], known[0])
    terms: list[list[list[Term]]] = [[[] for _ in range(OUTPUT + 1)] for _ in plans]
    places = list(inputs.places)
    runs: dict[int, FanRun] = {}
    for node in range(OUTPUT + 1):
        if node:
            places = _sums(node, terms, known, runs)
        if node < OUTPUT:
            for source, pairs in _leaving(node, plans, places, terms).items():
                fan = join_fan(pairs)
                assert fan is not None
                rooms = Rooms(torch.empty_like(known[source]), torch.empty_like(known[source]), spare.parts[0])
                kernels = [kernel(pair) for pair in fan.kernels]
                runs[source] = FanRun(known[source], shape, fan, kernels, None, over, rooms)
    order = sorted(set(places))
    return Shared([images(known[place], shape) for place in order], [order.index(place) for place in places])


def _leaving(
    node: int, plans: Sequence[Plan], places: Sequence[int], terms: list[list[list[Term]]]
) -> dict[int, set[Choice]]:
    """Per value of a node all that any candidate runs on it; each candidate's own is noted in ``terms``."""
    found: dict[int, set[Choice]] = {}
    for plan, source, own in zip(plans, places, terms, strict=True):
        fan = plan.fans[node]
        if fan is not None:
            found.setdefault(source, set()).update(fan.pairs)
            for edge, operation in fan.pairs:
                own[EDGES[edge][0]].append((source, edge, operation))
    return found


def _sums(node: int, terms: list[list[list[Term]]], known: list[Tensor], runs: dict[int, FanRun]) -> list[int]:
    """Where in ``known`` the value of a node stands for each candidate; values that are new are added to it."""
    found: dict[tuple[Term, ...], int] = {}
    for own in terms:
        key = tuple(own[node])
        if not key and node < OUTPUT:
            found[key] = 0  # read by nobody
        elif key not in found:
            total = Total()
            for source, edge, operation in key:
                run = runs[source]
                run.add_to(total, run.fan.edges.index(edge), operation)
            value = total.result()
            found[key] = len(known)
            known.append(torch.zeros_like(known[0]) if value is None else value)
    return [found[tuple(own[node])] for own in terms]
