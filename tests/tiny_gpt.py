"""The smallest run on the space of transformers: 16 decoders, a vocabulary of 280 tokens, some seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnas.data import TextConfig
from cnas.runs.config import RunConfig

TEXT = TextConfig(length=8, search_tokens=600, tokenizer="bpe:280")


def tiny(**changes: Any) -> RunConfig:
    """Every stage once, on a corpus as `tiny_recipe.write_corpus` makes one."""
    config = RunConfig.from_preset("gpt_cl/smoke", "rsps")
    sizes = {"width": (8, 16), "depth": (1, 2), "heads": (1, 2), "mlp": (16, 24), "head_dim": 4}
    return replace(
        config,
        text=TEXT,
        space=replace(config.space, **sizes),
        search=replace(config.search, samples=3, limit=None),
        trainer=replace(config.trainer, num_train_epochs=2),
        curriculum=replace(config.curriculum, num_candidates=2),
        retrain=replace(config.retrain, num_train_epochs=2, learning_rate=1e-2),
        **changes,
    )
