"""Curriculum-ENAS on word-level text: search a recurrent cell on reweighted data, train it, leave a model.

python recipes/ptb_cl_enas.py                                        # preset cpu on the embedded pydoc corpus
accelerate launch recipes/ptb_cl_enas.py --preset paper --data ptb_text_only
python recipes/ptb_cl_enas.py --preset smoke --no-curriculum         # plain ENAS
python recipes/ptb_cl_enas.py --resume                               # go on where it stopped
"""

from __future__ import annotations

import sys
from dataclasses import replace

from cnas.algorithms import ENAS
from cnas.cli.launch import main
from cnas.curricula import Uncertainty
from cnas.data.text import TextConfig
from cnas.runs.config import RunConfig
from cnas.spaces import EnasRnnSpace, LanguageModelSizes
from cnas.training import RetrainArguments, SearchArguments


def paper() -> RunConfig:
    """The published settings: google-research ``enas_lm`` on PTB, chunks of fixed length, K = 5."""
    return RunConfig(
        recipe="ptb_cl_enas",
        preset="paper",
        data="ptb_text_only",
        text=TextConfig(),
        space=EnasRnnSpace(),
        search=ENAS.Config(),
        trainer=SearchArguments(),
        curriculum=Uncertainty(num_candidates=5, refresh="epoch", unit="sequence"),
        retrain=RetrainArguments(),
        network=LanguageModelSizes(
            hidden_size=800,
            dropout_words=0.125,
            dropout_embedding=0.175,
            dropout_input=0.725,
            dropout_hidden=0.225,
            dropout_output=0.75,
            activation_penalty=0.7,
            penalised_output="raw",
            init_range=0.05,
        ),
    )


def _small_space(hidden_size: int) -> EnasRnnSpace:
    """The published supernet, narrower and less regularised, with a decoder bias: for minutes instead of days."""
    return EnasRnnSpace(
        hidden_size=hidden_size,
        dropout_words=0.0,
        dropout_embedding=0.1,
        dropout_input=0.1,
        dropout_hidden=0.1,
        dropout_output=0.2,
        tar=0.0,
        init_range=0.05,
        decoder_bias=True,
    )


def cpu() -> RunConfig:
    """For a laptop: search on 120,000 tokens, then train the found cell on all of the text."""
    return replace(
        paper(),
        preset="cpu",
        data="pydoc",
        text=TextConfig(search_tokens=120_000),
        space=_small_space(hidden_size=100),
        # A policy that is to move within eight epochs needs a larger rate and a baseline that forgets sooner.
        search=ENAS.Config(learning_rate=3.5e-3, baseline_decay=0.95, init_range=0.1, updates=20),
        trainer=SearchArguments(
            num_train_epochs=8, global_batch_size=16, eval_batch_size=16, learning_rate=20.0, max_grad_norm=0.25
        ),
        retrain=RetrainArguments(num_train_epochs=6, global_batch_size=32, average_from=5, weight_decay=1e-6),
        network=LanguageModelSizes(
            hidden_size=160,
            dropout_embedding=0.1,
            dropout_input=0.1,
            dropout_hidden=0.1,
            dropout_output=0.2,
            penalised_output="raw",
            init_range=0.1,
            decoder_bias=True,
        ),
    )


def smoke() -> RunConfig:
    """Everything once, on a few thousand words: under 90 seconds on two cores."""
    base = cpu()
    return replace(
        base,
        preset="smoke",
        text=TextConfig(
            vocab_size=2000, search_tokens=8_000, train_tokens=24_000, valid_tokens=3_000, test_tokens=3_000
        ),
        space=_small_space(hidden_size=32),
        search=replace(base.search, updates=6, samples=5, derive_samples=10),
        trainer=replace(base.trainer, num_train_epochs=4, global_batch_size=8, eval_batch_size=8),
        retrain=replace(base.retrain, num_train_epochs=4, global_batch_size=16, average_from=4, learning_rate=10.0),
        network=replace(base.network, hidden_size=64, init_range=0.05),
    )


PRESETS = {"smoke": smoke, "cpu": cpu, "paper": paper}

if __name__ == "__main__":
    sys.exit(main(PRESETS))
