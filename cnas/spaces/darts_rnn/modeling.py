"""The stand-alone language model of one DARTS cell, as a transformers model.

This file and what it imports from its folder's parent need torch and transformers alone, because they belong beside
weights that must load where `cnas` is missing.
"""

from __future__ import annotations

from huggingface_hub.dataclasses import strict

from .._causal_lm import LanguageModelConfig, RecurrentLanguageModel


@strict
class CnasDartsRnnConfig(LanguageModelConfig):
    """Configuration of `CnasDartsRnnForCausalLM`.

    Args:
        concat: the nodes whose mean is the output; None means all after the input node.

    The other fields are those of `LanguageModelConfig`.
    """

    model_type = "cnas-darts-rnn"

    concat: list[int] | None = None
    hidden_size: int = 850

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
