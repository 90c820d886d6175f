"""The recurrent space of DARTS: 8 nodes, each reading one earlier node through one of four activations.

In the relaxation every node reads all earlier ones through a mixture of the activations and of ``none``, which takes
its share of the weight and gives nothing (Liu et al. 2019); an architecture never holds ``none``. A cell is written
as words, or as the authors' code prints it; nothing is evaluated:

    relu 0 relu 1 tanh 2
    Genotype(recurrent=[('relu', 0), ('relu', 1), ('tanh', 2)], concat=range(1, 4))

Legend: E edges (from node j to node i, counted node by node), O operations.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cnas.errors import UserError
from cnas.spaces._gated_cell import ACTIVATIONS
from cnas.spaces._recurrent import RecurrentSpace
from cnas.spaces.darts_rnn.modeling import CnasDartsRnnConfig, CnasDartsRnnForCausalLM
from cnas.spaces.darts_rnn.supernet import DartsRnnSuperNet
from cnas.types import DARTS_PAPER, Architecture, Choice, Paper

MAX_TEXT = 4096
"""Longest notation that is parsed; real ones have a few hundred characters."""

# Blanks are taken out before, so that no pattern can match one text in two ways.
_NUMBER = r"[0-9]{1,6}"
_PAIR = rf"\((?:'\w{{1,32}}'|\"\w{{1,32}}\"),{_NUMBER}\)"
_CONCAT = rf"(?:range\(({_NUMBER}),({_NUMBER})\)|\[((?:{_NUMBER}(?:,{_NUMBER})*,?)?)\])"
_GENOTYPE = re.compile(rf"Genotype\(recurrent=\[((?:{_PAIR},?)*)\],concat={_CONCAT}\)")

Pairs = list[tuple[str, int]]
"""(operation, predecessor) of every node."""


@dataclass(frozen=True, kw_only=True)
class DartsRnnSpace(RecurrentSpace):
    """DARTS recurrent cells; the sizes and dropouts are those of the search in the authors' code.

    Example:
        >>> space = DartsRnnSpace(vocab_size=50, hidden_size=8, nodes=2)
        >>> space.size, space.parse("relu 0 identity 1").choices
        (32, ((0, 2), (2, 4)))
        >>> space.parse("Genotype(recurrent=[('relu', 0), ('identity', 1)], concat=range(1, 3))").to_str()
        'relu 0 identity 1'
    """

    name: ClassVar[str] = "darts_rnn"
    published: ClassVar[str | None] = "ptb_cl_darts/paper"
    batch_statistics: ClassVar[bool] = True
    operations = ("none", *ACTIVATIONS)
    paper: ClassVar[Paper | None] = DARTS_PAPER

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
        if self.concat is None:
            return
        ascending = list(self.concat) == sorted(set(self.concat)) and self.concat[:1] > (0,)
        # Nodes after the last one of the output would be read by nobody.
        if not ascending or self.concat[-1] != self.nodes:
            allowed = f"ascending nodes from 1 to {self.nodes}, {self.nodes} among them"
            raise ValueError(f"concat must be {allowed}, got {list(self.concat)}")

    @property
    def outputs(self) -> tuple[int, ...]:
        """The nodes whose mean is the cell's output."""
        return tuple(range(1, self.nodes + 1)) if self.concat is None else self.concat

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
        concat = None if self.concat is None else list(self.concat)
        return CnasDartsRnnForCausalLM(CnasDartsRnnConfig(concat=concat, **self.network_fields(architecture, sizes)))

    def to_str(self, choices: Sequence[Choice]) -> str:
        """The pair ``operation predecessor`` of every node, separated by blanks."""
        return " ".join(f"{self.operations[operation]} {source}" for source, operation in self.pairs(choices))

    def parse(self, text: str) -> Architecture:
        """The inverse of `to_str`; reads what the authors' code prints as well.

        Args:
            text: ``relu 0 relu 1 …``, or ``Genotype(recurrent=[('relu', 0), …], concat=range(1, 9))``.

        Raises:
            UserError: the text has another form, names what the space does not have, or averages other nodes.
        """
        pairs, concat = _read(text, self.nodes)
        choices = []
        for decision, (name, source) in zip(self.decisions(), pairs, strict=True):
            if name not in ACTIVATIONS or source >= len(decision.edges):
                raise UserError(
                    f"architecture {_show(text)}: node {decision.target} says '{name[:32]} {source}', allowed are "
                    f"{', '.join(ACTIVATIONS)} and predecessor 0 to {len(decision.edges) - 1}"
                )
            choices.append((decision.edges[source], self.operations.index(name)))
        if concat is not None and concat != self.outputs:
            raise UserError(
                f"architecture {_show(text)} averages the nodes {str(list(concat))[:80]}, this space "
                f"{str(list(self.outputs))[:80]}; build DartsRnnSpace(nodes=…, concat=…) to match"
            )
        return self.architecture(choices)


def _show(text: str) -> str:
    """The beginning of a notation, for messages."""
    return repr(text[:60])


def _read(text: str, nodes: int) -> tuple[Pairs, tuple[int, ...] | None]:
    """The pairs of a notation, and the nodes it averages; None where it does not say.

    Only the form is checked: that there are ``nodes`` pairs of a name and a number.

    Raises:
        UserError: telling the form.
    """
    pairs, concat = (_genotype(text) or (_words(text), None)) if len(text) <= MAX_TEXT else (None, None)
    if pairs is None or len(pairs) != nodes:
        raise UserError(
            f"architecture {_show(text)} must be {nodes} pairs 'operation predecessor', e.g. 'tanh 0 relu 1 …', or "
            f"Genotype(recurrent=[('tanh', 0), ('relu', 1), …], concat=…)"
        )
    return pairs, concat


def _words(text: str) -> Pairs | None:
    words = text.split()
    names, numbers = words[::2], words[1::2]
    if len(names) != len(numbers) or not all(re.fullmatch(_NUMBER, number) for number in numbers):
        return None
    return list(zip(names, map(int, numbers), strict=True))


def _genotype(text: str) -> tuple[Pairs, tuple[int, ...]] | None:
    match = _GENOTYPE.fullmatch("".join(text.split()))
    if match is None:
        return None
    inner, start, stop, listed = match.groups()
    pairs = [(name, int(number)) for name, number in re.findall(r"(\w+)['\"],([0-9]+)", inner)]
    if listed is not None:
        return pairs, tuple(int(number) for number in listed.split(",") if number)
    return pairs, tuple(range(int(start), min(int(stop), int(start) + MAX_TEXT)))
