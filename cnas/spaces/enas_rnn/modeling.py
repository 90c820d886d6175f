"""The stand-alone language model of one ENAS cell, as a transformers model.

This file and what it imports from its folder's parent need torch and transformers alone, because they belong beside
weights that must load where `cnas` is missing.
"""

from __future__ import annotations

from huggingface_hub.dataclasses import strict

from .._causal_lm import LanguageModelConfig, RecurrentLanguageModel
from .._gated_cell import GatedCell, plain_nodes


@strict
class CnasRnnConfig(LanguageModelConfig):
    """Configuration of `CnasRnnForCausalLM`.

    Args:
        sources: for each node, which earlier node it reads (0 is the input node).
        activations: for each node, ``tanh``, ``relu``, ``sigmoid`` or ``identity``.

    The other fields are those of `LanguageModelSizes`.
    """

    model_type = "cnas-rnn"

    sources: list[int] | None = None
    activations: list[str] | None = None

    def nodes(self) -> list[tuple[int, str]]:
        """(source, activation) of every node; one tanh node reading the input where none are given."""
        return plain_nodes(self.sources or [0], self.activations or ["tanh"])


class CnasRnnForCausalLM(RecurrentLanguageModel):
    """A word-level recurrent language model with a cell of the ENAS space."""

    config_class = CnasRnnConfig

    def __init__(self, config: CnasRnnConfig) -> None:
        super().__init__(config, GatedCell(config.hidden_size, config.nodes()))
