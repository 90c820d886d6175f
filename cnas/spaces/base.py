"""The interface of a search space.

A space is described to algorithms by its *decisions*: independent choices, each among (edge, operation) pairs. An
algorithm sees nothing else of it, so the same algorithm serves recurrent cells and convolutional ones.

Legend: E edges, O operations.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import nn

from cnas.errors import UserError
from cnas.spaces.supernet import SuperNet
from cnas.types import Architecture, Choice, Paper, Routing


@dataclass(frozen=True)
class Decision:
    """One independent choice: which edge enters node ``target``, and with which operation.

    Args:
        target: the node that is being decided; node 0 is the input of the cell.
        edges: the edges among which one is chosen (one edge where only the operation is free).
        sources: the node each of ``edges`` comes from.
        operations: the operations allowed on them, as indices into the space's ``operations``.
        name: what is decided, e.g. ``"width"``; empty where it has no name but the node's number.
    """

    target: int
    edges: tuple[int, ...]
    sources: tuple[int, ...]
    operations: tuple[int, ...]
    name: str = ""

    @property
    def options(self) -> list[Choice]:
        """All (edge, operation) pairs, edges first."""
        return [(edge, operation) for edge in self.edges for operation in self.operations]


class SearchSpace(ABC):
    """A set of architectures, the supernet that shares their weights, and the networks they become."""

    name: ClassVar[str]
    operations: tuple[str, ...]
    """The names of all operations; those of some spaces depend on their sizes."""
    relaxable: ClassVar[bool] = True
    """Whether its supernet runs mixtures, as algorithms with an α want; else it runs single paths only."""
    batch_statistics: ClassVar[bool] = False
    """Whether its supernet normalises the rows of a batch together; see `SuperNet`."""
    independent_rows: ClassVar[bool] = False
    """Whether the rows of a batch of text have nothing to do with those before, so that they may come in any order."""
    stock_networks: ClassVar[bool] = False
    """Whether what it builds are stock models of `transformers`, which need no code of their own."""
    measurable: ClassVar[tuple[str, ...]] = ()
    """The costs that `costs` has only of a space that was `measured`."""
    network_sizes: ClassVar[type[Any]]
    """The dataclass of what `build_network` takes as ``sizes``: a run's ``network``."""
    data_section: ClassVar[Literal["text", "images"]] = "text"
    """The part of a run's configuration that says how its data is read."""
    published: ClassVar[str | None] = None
    """The preset with the published settings, from which a search starts that names the space alone."""
    own_data: ClassVar[str | None] = None
    """The preset for data that no benchmark knows, where it is another one."""
    paper: ClassVar[Paper | None] = None
    """Where the space was published; cards cite it."""
    part: ClassVar[str] = "cell"
    """What of a network is searched, as cards and reports call it."""

    @abstractmethod
    def build_supernet(self) -> SuperNet:
        """A freshly initialised supernet; draws from torch's global generator."""

    @abstractmethod
    def build_network(self, architecture: Architecture, **sizes: Any) -> nn.Module:
        """The stand-alone `transformers.PreTrainedModel` of one architecture; ``sizes`` override defaults."""

    @abstractmethod
    def decisions(self) -> tuple[Decision, ...]:
        """The independent choices, in the order in which an architecture lists them."""

    @abstractmethod
    def to_str(self, choices: Sequence[Choice]) -> str:
        """The notation of the space for one choice per decision."""

    @abstractmethod
    def parse(self, text: str) -> Architecture:
        """The architecture that a string in the notation of the space describes.

        Raises:
            UserError: naming the position and what is allowed there.
        """

    def extremes(self) -> tuple[Architecture, Architecture]:
        """The smallest and the largest architecture.

        Raises:
            UserError: the architectures of the space have no sizes.
        """
        raise UserError(f"space {self.name} has no smallest and no largest architecture: all have the same sizes")

    def costs(self, architecture: Architecture) -> Mapping[str, float]:  # noqa: ARG002
        """What an architecture costs, by name: ``parameters``, ``flops``; empty where a space cannot tell.

        These are the names that ``search.limit`` may have.

        Args:
            architecture: of the space.
        """
        return {}

    @property
    def inherits(self) -> bool:
        """Whether its networks can take the weights of its supernet, see `inherited`."""
        return type(self).inherited is not SearchSpace.inherited

    def measure(self, device: torch.device, length: int) -> dict[str, Any]:  # noqa: ARG002
        """Measure on a device what the `measurable` costs are made of: ``blocks``, numbers by name, and how, as JSON.

        Args:
            device: of the run.
            length: of a chunk of text, in tokens.

        Raises:
            UserError: there are no such costs.
        """
        raise UserError(f"space {self.name} has no costs that are measured")

    def measured(self, blocks: Mapping[str, float] | None) -> Self:  # noqa: ARG002
        """The same space, whose `costs` have the `measurable` ones as well.

        Args:
            blocks: what `measure` has found; None stands for numbers that are not known yet, all 0.

        Raises:
            UserError: they are not those of the space.
        """
        return self

    def inherited(self, supernet: nn.Module, architecture: Architecture) -> nn.Module:  # noqa: ARG002
        """The stand-alone network of an architecture with the weights that the supernet has for it.

        Args:
            supernet: what `build_supernet` made, trained.
            architecture: of the space.

        Raises:
            UserError: the networks of the space cannot take the weights of its supernet.
        """
        raise UserError(f"the networks of space {self.name} cannot take the weights of its supernet; they start anew")

    def mixtures(self) -> tuple[tuple[Choice, ...], ...]:
        """The groups of (edge, operation) pairs whose weights in a soft mixture sum to one; one per decision.

        A space whose relaxation was published otherwise overrides this.
        """
        return tuple(tuple(decision.options) for decision in self.decisions())

    @property
    def outputs(self) -> tuple[int, ...] | None:
        """The nodes whose mean is the output of a cell; None where a space does not define it."""
        return None

    @property
    def routed_cells(self) -> int:
        """How many cells a routing may treat separately (C); 1 where all share one."""
        return 1

    @property
    def shape(self) -> tuple[int, int]:
        """(E, O): the shape of the scores and of a routing's weights."""
        edges = max(edge for decision in self.decisions() for edge in decision.edges) + 1
        return edges, len(self.operations)

    @property
    def size(self) -> int:
        """How many architectures there are."""
        return math.prod(len(decision.options) for decision in self.decisions())

    def architecture(self, choices: Sequence[Choice]) -> Architecture:
        """The architecture made of one (edge, operation) pair per decision."""
        return Architecture(self.name, tuple(choices), self.to_str(choices))

    def routing(self, architecture: Architecture) -> Routing:
        """The single path that runs ``architecture`` in the supernet."""
        return Routing.path(architecture.choices, self.shape)

    def is_connected(self, architecture: Architecture) -> bool:  # noqa: ARG002
        """Whether any information flows through; spaces with a `none` operation override this."""
        return True

    def sample(self, generator: torch.Generator) -> Architecture:
        """One architecture, uniformly at random among the connected ones."""
        while True:
            options = [decision.options for decision in self.decisions()]
            picks = [int(torch.randint(len(rows), (), generator=generator)) for rows in options]
            found = self.architecture([rows[pick] for rows, pick in zip(options, picks, strict=True)])
            if self.is_connected(found):
                return found
