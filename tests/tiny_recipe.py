"""The language-model recipe at its smallest.

Legend of sizes: 2 nodes, 8 hidden units, 10 tokens a chunk; a whole run takes a second or two.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from cnas.algorithms import ENAS
from cnas.cli.launch import main
from cnas.curricula import Uncertainty
from cnas.data.text import TextConfig
from cnas.runs.config import RunConfig
from cnas.spaces import EnasRnnSpace, LanguageModelSizes
from cnas.training import RetrainArguments, SearchArguments

LINES = {"train": 130, "valid": 30, "test": 30}


def tiny() -> RunConfig:
    """Every mechanism once: dropouts, penalties, curriculum, controller, averaging."""
    dropouts = {f"dropout_{name}": 0.1 for name in ("words", "embedding", "input", "hidden", "output")}
    sizes = {"hidden_size": 8, "tar": 0.5, "init_range": 0.3, **dropouts}
    return RunConfig(
        recipe="tiny_recipe",
        preset="tiny",
        data="corpus",
        text=TextConfig(vocab_size=60, length=10, search_tokens=600),
        space=EnasRnnSpace(nodes=2, **sizes),
        search=ENAS.Config(learning_rate=0.01, updates=3, samples=3, derive_samples=3, controller_size=8),
        trainer=SearchArguments(num_train_epochs=3, global_batch_size=5, eval_batch_size=4, learning_rate=5.0),
        curriculum=Uncertainty(num_candidates=3),
        retrain=RetrainArguments(num_train_epochs=3, global_batch_size=7, learning_rate=5.0, average_from=2),
        network=LanguageModelSizes(activation_penalty=0.3, **sizes),
    )


PRESETS = {"tiny": tiny}


def write_corpus(folder: Path) -> Path:
    """A folder of three splits in a made-up language of 40 words, where each word suggests the next one."""
    folder.mkdir(parents=True)
    draw = random.Random(7)
    for split, lines in LINES.items():
        text = "".join(f"{_sentence(draw)}\n" for _ in range(lines))
        (folder / f"{split}.txt").write_text(text, "utf-8")
    return folder


def _sentence(draw: random.Random) -> str:
    words = [draw.randrange(40)]
    while len(words) < 8:
        words.append((words[-1] * 3 + draw.choice((0, 1, 1, 2))) % 40)
    return " ".join(f"w{word}" for word in words)


if __name__ == "__main__":
    sys.exit(main(PRESETS, default="tiny"))
