"""The ENAS recurrent space: 8 nodes, each reading one earlier node through one of four activations.

Notation: "previous function previous function …", e.g. the published cell of google-research ``enas_lm`` is
``0 2 1 0 2 1 2 2 4 0 5 0 3 2 6 2``; functions are numbered tanh, relu, sigmoid, identity. Node 0, which reads the
input through tanh, is fixed and not written.

Legend: E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cnas.errors import UserError
from cnas.spaces._gated_cell import ACTIVATIONS
from cnas.spaces._language_model import Penalised
from cnas.spaces._recurrent import RecurrentSpace
from cnas.spaces.enas_rnn.modeling import CnasRnnConfig, CnasRnnForCausalLM
from cnas.spaces.enas_rnn.supernet import EnasRnnSuperNet
from cnas.types import ENAS_PAPER, Architecture, Choice, Paper

MAX_TEXT = 4096
"""Longest notation that is parsed; real ones have a few dozen characters."""


@dataclass(frozen=True, kw_only=True)
class EnasRnnSpace(RecurrentSpace):
    """ENAS recurrent cells; the sizes and dropouts are those of the supernet in google-research ``enas_lm``.

    Example:
        >>> space = EnasRnnSpace(vocab_size=50, hidden_size=8, nodes=2)
        >>> space.size, space.parse("0 2 1 0").choices
        (32, ((0, 2), (2, 0)))
    """

    name: ClassVar[str] = "enas_rnn"
    published: ClassVar[str | None] = "ptb_cl_enas/paper"
    operations = tuple(ACTIVATIONS)
    paper: ClassVar[Paper | None] = ENAS_PAPER

    dropout_words: float = 0.10
    dropout_embedding: float = 0.20
    dropout_input: float = 0.75
    dropout_hidden: float = 0.25
    dropout_output: float = 0.75
    penalised_output: Penalised = "raw"
    tar: float = 1.0

    def build_supernet(self) -> EnasRnnSuperNet:
        """A freshly initialised supernet."""
        return EnasRnnSuperNet(self, self.decisions(), self.operations)

    def build_network(self, architecture: Architecture, **sizes: Any) -> CnasRnnForCausalLM:
        """The stand-alone language model of ``architecture``; ``sizes`` are fields of `LanguageModelSizes`."""
        return CnasRnnForCausalLM(CnasRnnConfig(**self.network_fields(architecture, sizes)))

    def to_str(self, choices: Sequence[Choice]) -> str:
        """The pair ``previous function`` of every node, separated by blanks."""
        return " ".join(f"{source} {operation}" for source, operation in self.pairs(choices))

    def parse(self, text: str) -> Architecture:
        """The inverse of `to_str`.

        Raises:
            UserError: where the text is not ``nodes`` pairs of numbers in their ranges.
        """
        words = text[:MAX_TEXT].split()
        if len(text) > MAX_TEXT or len(words) != 2 * self.nodes or not all(w.isascii() and w.isdigit() for w in words):
            raise UserError(
                f"architecture {text[:60]!r} must be {self.nodes} pairs 'previous function' of whole numbers, "
                f"e.g. {self.to_str([decision.options[0] for decision in self.decisions()])!r}"
            )
        numbers = [min(int(word), 999_999) for word in words]
        choices = []
        for decision, source, operation in zip(self.decisions(), numbers[::2], numbers[1::2], strict=True):
            if source >= len(decision.edges) or operation >= len(self.operations):
                raise UserError(
                    f"architecture {text[:60]!r}: node {decision.target} says '{source} {operation}', allowed are "
                    f"previous 0 to {len(decision.edges) - 1} and function 0 to {len(self.operations) - 1}"
                )
            choices.append((decision.edges[source], operation))
        return self.architecture(choices)
