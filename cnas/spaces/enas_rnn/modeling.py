"""The stand-alone language model of one ENAS cell, as a transformers model.

This file and what it imports from its folder's parent need torch and transformers alone, because they belong beside
weights that must load where `cnas` is missing.
"""

from __future__ import annotations

from huggingface_hub.dataclasses import strict

from .._causal_lm import LanguageModelConfig, RecurrentLanguageModel


@strict
class CnasRnnConfig(LanguageModelConfig):
    """Configuration of `CnasRnnForCausalLM`.

    The other fields are those of `LanguageModelConfig`.
    """

    model_type = "cnas-rnn"


class CnasRnnForCausalLM(RecurrentLanguageModel):
    """A word-level recurrent language model with a cell of the ENAS space."""

    config_class = CnasRnnConfig
