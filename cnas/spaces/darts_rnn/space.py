"""The recurrent space of DARTS: 8 nodes, each reading one earlier node through one of four activations.

In the relaxation every node reads all earlier ones through a mixture of the activations and of ``none``, which takes
its share of the weight and gives nothing (Liu et al. 2019); an architecture never holds ``none``.

Legend: E edges (from node j to node i, counted node by node), O operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from cnas.errors import UserError
from cnas.spaces._gated_cell import ACTIVATIONS
from cnas.spaces._language_model import LanguageModelSizes
from cnas.spaces.base import Decision, SearchSpace
from cnas.spaces.darts_rnn.network import CnasDartsRnnConfig, CnasDartsRnnForCausalLM
from cnas.spaces.darts_rnn.notation import read, show
from cnas.spaces.darts_rnn.supernet import DartsRnnSuperNet
from cnas.types import Architecture, Choice, Paper


@dataclass(frozen=True, kw_only=True)
class DartsRnnSpace(LanguageModelSizes, SearchSpace):
    """DARTS recurrent cells; the sizes and dropouts are those of the search in the authors' code.

    Example:
        >>> space = DartsRnnSpace(vocab_size=50, hidden_size=8, nodes=2)
        >>> space.size, space.parse("relu 0 identity 1").choices
        (32, ((0, 2), (2, 4)))
        >>> space.parse("Genotype(recurrent=[('relu', 0), ('identity', 1)], concat=range(1, 3))").to_str()
        'relu 0 identity 1'
    """

    name: ClassVar[str] = "darts_rnn"
    network_sizes: ClassVar[type[Any]] = LanguageModelSizes
    batch_statistics: ClassVar[bool] = True
    operations: ClassVar[tuple[str, ...]] = ("none", *ACTIVATIONS)
    paper: ClassVar[Paper | None] = Paper(
        title="DARTS: Differentiable Architecture Search",
        authors="Hanxiao Liu, Karen Simonyan, Yiming Yang",
        year=2019,
        url="https://arxiv.org/abs/1806.09055",
    )

    nodes: int = 8
    """Nodes of the cell after the input node."""
    concat: tuple[int, ...] | None = None
    """The nodes whose mean is the cell's output; none means all after the input node."""
    hidden_size: int = 300
    dropout_embedding: float = 0.20
    dropout_input: float = 0.75
    dropout_hidden: float = 0.25
    dropout_output: float = 0.75
    tar: float = 1e-3
    decoder_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.nodes <= 64:
            raise ValueError(f"nodes must be between 1 and 64, got {self.nodes}")
        if self.concat is None:
            return
        ascending = list(self.concat) == sorted(set(self.concat)) and self.concat[:1] > (0,)
        # What stands behind the last node of the output would be read by nobody.
        if not ascending or self.concat[-1] != self.nodes:
            allowed = f"ascending nodes from 1 to {self.nodes}, {self.nodes} among them"
            raise ValueError(f"concat must be {allowed}, got {list(self.concat)}")

    @property
    def outputs(self) -> tuple[int, ...]:
        """The nodes whose mean is the cell's output."""
        return tuple(range(1, self.nodes + 1)) if self.concat is None else self.concat

    def decisions(self) -> tuple[Decision, ...]:
        """One decision per node: i sources × 4 activations for node i."""
        edges = [tuple(range(node * (node - 1) // 2, node * (node + 1) // 2)) for node in range(1, self.nodes + 1)]
        some = tuple(range(1, len(self.operations)))
        return tuple(
            Decision(target=len(edges_in), edges=edges_in, sources=tuple(range(len(edges_in))), operations=some)
            for edges_in in edges
        )

    def mixtures(self) -> tuple[tuple[Choice, ...], ...]:
        """One softmax per edge, ``none`` among its operations."""
        every = range(len(self.operations))
        return tuple(tuple((edge, operation) for operation in every) for edge in range(self.shape[0]))

    def build_supernet(self) -> DartsRnnSuperNet:
        """A freshly initialised supernet."""
        return DartsRnnSuperNet(self, self.decisions(), self.operations, self.outputs)

    def build_network(self, architecture: Architecture, **sizes: Any) -> CnasDartsRnnForCausalLM:
        """The stand-alone language model of ``architecture``; ``sizes`` are fields of `LanguageModelSizes`.

        It has no normalisation, as in the authors' code.
        """
        inherited = {field.name: getattr(self, field.name) for field in fields(LanguageModelSizes)}
        checked = LanguageModelSizes(**{**inherited, **sizes})
        pairs = self._pairs(architecture.choices)
        config = CnasDartsRnnConfig(
            sources=[source for _, source in pairs],
            activations=[activation for activation, _ in pairs],
            concat=None if self.concat is None else list(self.concat),
            **asdict(checked),
        )
        return CnasDartsRnnForCausalLM(config)

    def to_str(self, choices: Sequence[Choice]) -> str:
        """The pair ``operation predecessor`` of every node, separated by blanks."""
        return " ".join(f"{operation} {source}" for operation, source in self._pairs(choices))

    def _pairs(self, choices: Sequence[Choice]) -> list[tuple[str, int]]:
        decisions = zip(self.decisions(), choices, strict=True)
        return [(self.operations[pick], decision.edges.index(edge)) for decision, (edge, pick) in decisions]

    def parse(self, text: str) -> Architecture:
        """The inverse of `to_str`; reads what the authors' code prints as well.

        Args:
            text: ``relu 0 relu 1 …``, or ``Genotype(recurrent=[('relu', 0), …], concat=range(1, 9))``.

        Raises:
            UserError: the text has another form, names what the space does not have, or averages other nodes.
        """
        pairs, concat = read(text, self.nodes)
        choices = []
        for decision, (name, source) in zip(self.decisions(), pairs, strict=True):
            if name not in ACTIVATIONS or source >= len(decision.edges):
                raise UserError(
                    f"architecture {show(text)}: node {decision.target} says '{name[:32]} {source}', allowed are "
                    f"{', '.join(ACTIVATIONS)} and predecessor 0 to {len(decision.edges) - 1}"
                )
            choices.append((decision.edges[source], self.operations.index(name)))
        if concat is not None and concat != self.outputs:
            raise UserError(
                f"architecture {show(text)} averages the nodes {str(list(concat))[:80]}, this space "
                f"{str(list(self.outputs))[:80]}; build DartsRnnSpace(nodes=…, concat=…) to match"
            )
        return self.architecture(choices)
