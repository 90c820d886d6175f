"""Toy spaces with few architectures, and a search whose validation losses are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import pytest
import torch
from torch import Tensor

from cnas.algorithms.base import SearchContext
from cnas.random import generator
from cnas.spaces.base import Decision, SearchSpace
from cnas.types import Architecture, Choice


class ToySpace(SearchSpace):
    """Decisions and nothing to run; choices are written as plain numbers."""

    name = "toy"

    def build_supernet(self):
        raise AssertionError("an algorithm builds no supernet")

    def build_network(self, architecture, **sizes):
        raise AssertionError("an algorithm builds no network")

    def to_str(self, choices):
        return " ".join(f"{edge} {operation}" for edge, operation in choices)

    def parse(self, text):
        numbers = [int(part) for part in text.split()]
        return self.architecture(list(zip(numbers[::2], numbers[1::2], strict=True)))

    def all(self) -> list[Architecture]:
        return [self.architecture(choices) for choices in product(*(row.options for row in self.decisions()))]


class RecurrentSpace(ToySpace):
    """Node i chooses among the i nodes before it, as in a recurrent cell; 2 · 4 · 6 architectures by default."""

    def __init__(self, nodes: int = 3, operations: int = 2) -> None:
        self.nodes = nodes
        self.operations = tuple("abcdef"[:operations])

    def decisions(self) -> tuple[Decision, ...]:
        operations = tuple(range(len(self.operations)))
        return tuple(
            Decision(node, tuple(range(node * (node - 1) // 2, node * (node + 1) // 2)), tuple(range(node)), operations)
            for node in range(1, self.nodes + 1)
        )


class CellSpace(ToySpace):
    """Three edges, each with one of three operations; nothing flows through where every operation is the first."""

    operations = ("none", "skip", "conv")

    def decisions(self) -> tuple[Decision, ...]:
        ends = ((1, 0), (2, 0), (2, 1))
        return tuple(Decision(target, (edge,), (source,), (0, 1, 2)) for edge, (target, source) in enumerate(ends))

    def is_connected(self, architecture: Architecture) -> bool:
        return any(operation for _, operation in architecture.choices)


class EdgeSpace(RecurrentSpace):
    """As in the recurrent cell of DARTS, every edge mixes all operations and `none` is never chosen."""

    def __init__(self) -> None:
        super().__init__(nodes=3, operations=3)

    def decisions(self) -> tuple[Decision, ...]:
        return tuple(replace(decision, operations=(1, 2)) for decision in super().decisions())

    def mixtures(self) -> tuple[tuple[Choice, ...], ...]:
        edges = [edge for decision in self.decisions() for edge in decision.edges]
        return tuple(tuple((edge, operation) for operation in range(3)) for edge in edges)


class ElasticSpace(ToySpace):
    """Sizes to choose, in ascending order; parameters are their product, milliseconds the sum of their squares."""

    name = "elastic"

    def __init__(self, *sizes: Sequence[int]) -> None:
        self.sizes = sizes or ((1, 2, 3, 4), (1, 2, 4), (2, 3, 5))
        self.operations = tuple("abcdefghij"[: max(map(len, self.sizes))])

    def decisions(self) -> tuple[Decision, ...]:
        return tuple(
            Decision(place + 1, (place,), (0,), tuple(range(len(row)))) for place, row in enumerate(self.sizes)
        )

    def chosen(self, choices: Sequence[Choice]) -> list[int]:
        return [self.sizes[edge][operation] for edge, operation in choices]

    def extremes(self) -> tuple[Architecture, Architecture]:
        first, last = zip(*((row.options[0], row.options[-1]) for row in self.decisions()), strict=True)
        return self.architecture(first), self.architecture(last)

    def costs(self, architecture: Architecture) -> dict[str, float]:
        sizes = self.chosen(architecture.choices)
        return {"parameters": math.prod(sizes), "milliseconds": sum(size**2 for size in sizes)}

    def loss(self, choices: Sequence[Choice], index: int | None = None) -> float:
        """Lower for larger sizes, of which the last counts most, and it wants to fit the first one."""
        sizes = self.chosen(choices)
        return 1 + sum((1 + place) / size for place, size in enumerate(sizes)) + abs(sizes[0] - sizes[-1]) / 10


@dataclass
class Judge:
    """Stands in for the trainer: losses by a function of (choices, index); remembers what it was asked.

    With an ``accuracy`` it is a trainer that classifies.
    """

    loss: Callable[[tuple[Choice, ...], int | None], float]
    seed: int = 0
    accuracy: Callable[[tuple[Choice, ...], int | None], float] | None = None
    calls: list[tuple[list[Architecture], int | None]] = field(default_factory=list)
    checkpoints: int = 0

    def validation_losses(self, architectures: Sequence[Architecture], index: int | None) -> Tensor:
        self.calls.append((list(architectures), index))
        return torch.tensor([self.loss(found.choices, index) for found in architectures])

    def validation_accuracies(self, architectures: Sequence[Architecture], index: int | None) -> Tensor:
        assert self.accuracy is not None
        self.calls.append((list(architectures), index))
        return torch.tensor([self.accuracy(found.choices, index) for found in architectures])

    def checkpoint(self) -> None:
        self.checkpoints += 1

    def context(self, epoch: int = 0) -> SearchContext:
        return SearchContext(
            epoch=epoch,
            epochs=100,
            generator=lambda name, *counters: generator(self.seed, name, epoch, *counters),
            validation_losses=self.validation_losses,
            checkpoint=self.checkpoint,
            validation_accuracies=self.validation_accuracies if self.accuracy else None,
        )


@pytest.fixture
def judge() -> type[Judge]:
    return Judge


@pytest.fixture
def recurrent() -> Callable[..., RecurrentSpace]:
    return RecurrentSpace


@pytest.fixture
def cell() -> CellSpace:
    return CellSpace()


@pytest.fixture
def elastic() -> type[ElasticSpace]:
    return ElasticSpace


@pytest.fixture(params=[RecurrentSpace, CellSpace, EdgeSpace], ids=lambda cls: cls.__name__)
def relaxed(request: pytest.FixtureRequest) -> ToySpace:
    """Spaces for algorithms that mix: with mixtures of equal and of different length, per edge and per decision."""
    return request.param()


@pytest.fixture(params=["recurrent", "cell"])
def space(request: pytest.FixtureRequest) -> ToySpace:
    return {"recurrent": RecurrentSpace, "cell": CellSpace}[request.param]()
