"""The interfaces of a search space and of its supernet.

A space is described to algorithms by its *decisions*: independent choices, each among (edge, operation) pairs. An
algorithm sees nothing else of it, so the same algorithm serves recurrent cells and convolutional ones.

Legend: E edges, O operations, K candidates, B sequences, H hidden units.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from cnas.errors import UserError
from cnas.spaces.pure import PureForward
from cnas.types import Architecture, Batch, Choice, Output, Paper, Routing


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


class SuperNet(nn.Module, ABC):
    """A network that holds the shared weights of every architecture of a space; no α, no controller."""

    batch_statistics: ClassVar[bool] = False
    """Whether the rows of a batch are normalised together, so that a batch must not be cut into parts."""

    classifies: ClassVar[bool] = False
    """Whether every output has logits, so that accuracy counts."""

    scorings: ClassVar[tuple[str, ...]] = ("published",)
    """The ways to score a subnet with shared weights that `scored_by` knows, the published one first."""

    outcomes: int | None = None
    """How many words or classes a prediction chooses from; a step whose loss is far above that of guessing is bad."""

    @abstractmethod
    def forward(self, batch: Batch, routing: Routing) -> Output:
        """Run one routing on a batch; losses are unreduced float32."""

    def forward_many(
        self, batch: Batch, routings: Sequence[Routing], hidden_states: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Losses of K routings on one batch, without gradient or dropout.

        Args:
            batch: its own ``hidden_state`` and ``dropout_seeds`` are not used.
            routings: K of them.
            hidden_states: one per routing, as `zero_hidden_state` or the call before returned it.

        Returns:
            (losses float32 [K, *labels.shape], one hidden state per routing). This one is a plain loop; spaces batch K.
        """
        outputs = self.evaluated(batch, routings, hidden_states)
        return torch.stack([output.losses for output in outputs]), [output.hidden_state for output in outputs]

    def correct_many(self, batch: Batch, routings: Sequence[Routing]) -> Tensor:
        """Which predictions of K routings are right, bool [K, *labels.shape], without gradient or dropout.

        Args:
            batch: its own ``hidden_state`` and ``dropout_seeds`` are not used.
            routings: K of them.

        Raises:
            UserError: the supernet does not say that it `classifies`.
        """
        if not self.classifies:
            raise UserError(f"{type(self).__name__} does not classify: its logits are never held at once")
        outputs = self.evaluated(batch, routings, [None] * len(routings))
        return torch.stack([output.logits.argmax(-1) == batch.labels for output in outputs])  # type: ignore[union-attr]

    @torch.no_grad()
    def evaluated(
        self, batch: Batch, routings: Sequence[Routing], hidden_states: Sequence[Tensor | None]
    ) -> list[Output]:
        """The outputs of K routings on one batch, one by one, without gradient or dropout.

        Args:
            batch: its own ``hidden_state`` and ``dropout_seeds`` are not used.
            routings: K of them.
            hidden_states: one per routing.
        """
        was_training = self.training
        self.eval()
        try:
            return [
                self(replace(batch, hidden_state=hidden_state, dropout_seeds=None), routing)
                for routing, hidden_state in zip(routings, hidden_states, strict=True)
            ]
        finally:
            self.train(was_training)

    @contextmanager
    def scored_by(self, scoring: str) -> Iterator[None]:
        """Score subnets in one of the `scorings` while the context lasts.

        Raises:
            UserError: there is no such scoring.
        """
        if scoring not in self.scorings:
            raise UserError(f"scoring must be one of {', '.join(self.scorings)}, got {scoring[:40]!r}")
        yield

    def draw_ahead(self, batch: Batch) -> None:
        """Draw what the forward pass on a batch will want, while the device is busy.

        Args:
            batch: which will be run.
        """

    def pure(self, batch: Batch, routing: Routing) -> PureForward | None:  # noqa: ARG002
        """The forward pass as a function of tensors, for a graph of the device; None where it must be run as it is.

        Args:
            batch: with its hidden state and dropout seeds.
            routing: what of the supernet is run.
        """
        return None

    def pure_many(
        self,
        batch: Batch,  # noqa: ARG002
        routings: Sequence[Routing],  # noqa: ARG002
        hidden_states: Sequence[Tensor | None],  # noqa: ARG002
    ) -> PureForward | None:
        """`forward_many` as a function of tensors: losses [K, *labels.shape], states [K, B, H]; None as in `pure`.

        Args:
            batch: its own ``hidden_state`` and ``dropout_seeds`` are not used.
            routings: K of them.
            hidden_states: one per routing.
        """
        return None

    def zero_hidden_state(self, rows: int) -> Tensor | None:  # noqa: ARG002
        """The hidden state before the first chunk of ``rows`` sequences; None where a space has none."""
        return None


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
    network_sizes: ClassVar[type[Any]]
    """The dataclass of what `build_network` takes as ``sizes``: a run's ``network``."""
    data_section: ClassVar[Literal["text", "images"]] = "text"
    """The part of a run's configuration that says how its data is read."""
    published: ClassVar[str | None] = None
    """The preset with the published settings, from which a search starts that names the space alone."""
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

    def decode(self, scores: Tensor) -> Architecture:
        """The best option of every decision; ``scores`` is [E, O], ties go to the first."""
        best = [max(decision.options, key=lambda pair: float(scores[pair])) for decision in self.decisions()]
        return self.architecture(best)

    def mutate(self, architecture: Architecture, generator: torch.Generator) -> Architecture:
        """``architecture`` with one decision drawn again from ``generator``, uniformly among its other options."""
        decisions = self.decisions()
        index = int(torch.randint(len(decisions), (), generator=generator))
        others = [pair for pair in decisions[index].options if pair != architecture.choices[index]]
        pick = others[int(torch.randint(len(others), (), generator=generator))]
        return self.architecture([*architecture.choices[:index], pick, *architecture.choices[index + 1 :]])
