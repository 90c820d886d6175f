"""The stand-alone language model of one DARTS cell, as a transformers model.

This file and what it imports from its folder's parent need torch and transformers alone, because they belong beside
weights that must load where `cnas` is missing.
"""

from __future__ import annotations

from huggingface_hub.dataclasses import strict

from .._causal_lm import LanguageModelConfig, RecurrentLanguageModel
from .._gated_cell import GatedCell, plain_nodes


@strict
class CnasDartsRnnConfig(LanguageModelConfig):
    """Configuration of `CnasDartsRnnForCausalLM`.

    Args:
        sources: for each node, which earlier node it reads (0 is the input node).
        activations: for each node, ``tanh``, ``relu``, ``sigmoid`` or ``identity``.
        concat: the nodes whose mean is the output; None means all after the input node.

    The other fields are those of `LanguageModelSizes`.
    """

    model_type = "cnas-darts-rnn"

    sources: list[int] | None = None
    activations: list[str] | None = None
    concat: list[int] | None = None
    hidden_size: int = 850

    def nodes(self) -> list[tuple[int, str]]:
        """(source, activation) of every node; one tanh node reading the input where none are given."""
        return plain_nodes(self.sources or [0], self.activations or ["tanh"])

    def outputs(self) -> list[int] | None:
        """``concat``, checked.

        Raises:
            ValueError: it is empty or names a node that is not there.
        """
        count = len(self.nodes())
        if self.concat is not None and not (self.concat and all(1 <= node <= count for node in self.concat)):
            raise ValueError(f"concat must be nodes between 1 and {count}, got {self.concat}")
        return self.concat


class CnasDartsRnnForCausalLM(RecurrentLanguageModel):
    """A word-level recurrent language model with a cell of the DARTS space."""

    config_class = CnasDartsRnnConfig

    def __init__(self, config: CnasDartsRnnConfig) -> None:
        super().__init__(config, GatedCell(config.hidden_size, config.nodes(), config.outputs()))
