"""Curriculum-DARTS on word-level text: search a recurrent cell on reweighted data, train it, leave a model.

python recipes/ptb_cl_darts.py                                       # first order, preset cpu, embedded pydoc corpus
python recipes/ptb_cl_darts.py --search.unrolled                     # second order (DARTS-V2)
accelerate launch recipes/ptb_cl_darts.py --preset paper --data ptb_text_only
python recipes/ptb_cl_darts.py --preset smoke --no-curriculum        # plain DARTS
python recipes/ptb_cl_darts.py --resume                              # go on where it stopped
"""

from __future__ import annotations

import sys
from dataclasses import replace

from cnas.algorithms import DARTS
from cnas.cli.launch import main
from cnas.curricula import Uncertainty
from cnas.data.text import TextConfig
from cnas.runs.config import RunConfig
from cnas.spaces import DartsRnnSpace, LanguageModelSizes
from cnas.training import RetrainArguments, SearchArguments


def paper() -> RunConfig:
    """The published settings: the DARTS authors' code for recurrent cells on PTB, chunks of fixed length, K = 5."""
    return RunConfig(
        recipe="ptb_cl_darts",
        preset="paper",
        data="ptb_text_only",
        text=TextConfig(),
        space=DartsRnnSpace(),
        search=DARTS.Config(),
        trainer=SearchArguments(
            num_train_epochs=50,
            global_batch_size=256,
            eval_batch_size=256,
            learning_rate=20.0,
            weight_decay=5e-7,
            max_grad_norm=0.25,
        ),
        curriculum=Uncertainty(num_candidates=5, refresh="epoch", unit="sequence"),
        retrain=RetrainArguments(
            num_train_epochs=8000,
            global_batch_size=64,
            learning_rate=20.0,
            weight_decay=8e-7,
            max_grad_norm=0.25,
            nonmonotone=5,
        ),
        network=LanguageModelSizes(
            hidden_size=850,
            dropout_words=0.1,
            dropout_embedding=0.2,
            dropout_input=0.75,
            dropout_hidden=0.25,
            dropout_output=0.75,
            tar=1e-3,
            decoder_bias=True,
        ),
    )


def _small_space(hidden_size: int) -> DartsRnnSpace:
    """The published supernet, narrower and less regularised: for minutes instead of days."""
    return DartsRnnSpace(
        hidden_size=hidden_size,
        dropout_embedding=0.1,
        dropout_input=0.1,
        dropout_hidden=0.1,
        dropout_output=0.2,
        tar=0.0,
        init_range=0.05,
    )


def cpu() -> RunConfig:
    """For a laptop: the slice and the budget of ``ptb_table3 --preset cpu``."""
    return replace(
        paper(),
        preset="cpu",
        data="pydoc",
        text=TextConfig(search_tokens=60_000, train_tokens=300_000),
        space=_small_space(hidden_size=100),
        # Normalised states are large, and small batches noisy: the published rate of 20 diverges here.
        trainer=SearchArguments(
            num_train_epochs=5, global_batch_size=16, eval_batch_size=16, learning_rate=5.0, max_grad_norm=0.25
        ),
        retrain=RetrainArguments(num_train_epochs=3, global_batch_size=32, average_from=3, weight_decay=1e-6),
        network=LanguageModelSizes(
            hidden_size=120,
            dropout_embedding=0.1,
            dropout_input=0.1,
            dropout_hidden=0.1,
            dropout_output=0.2,
            init_range=0.1,
            decoder_bias=True,
        ),
    )


def smoke() -> RunConfig:
    """Everything once, on a few thousand words: under 90 seconds on two cores, second order too."""
    base = cpu()
    return replace(
        base,
        preset="smoke",
        text=TextConfig(
            vocab_size=2000, search_tokens=4_000, train_tokens=16_000, valid_tokens=3_000, test_tokens=3_000
        ),
        space=_small_space(hidden_size=32),
        trainer=replace(base.trainer, num_train_epochs=4, global_batch_size=8, eval_batch_size=8),
        retrain=replace(base.retrain, num_train_epochs=4, global_batch_size=16, average_from=4, learning_rate=5.0),
        network=replace(base.network, hidden_size=64, init_range=0.05),
    )


PRESETS = {"smoke": smoke, "cpu": cpu, "paper": paper}

if __name__ == "__main__":
    sys.exit(main(PRESETS))
