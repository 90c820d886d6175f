"""The language-model recipe at its smallest; its presets are those of a distribution of its own.

Legend of sizes: 2 nodes, 8 hidden units, 10 tokens a chunk; a whole run takes a second or two.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path

from cnas.cli import launch
from cnas.runs.config import RunConfig

LINES = {"train": 130, "valid": 30, "test": 30}
RECIPE = "tiny_recipe"


def tiny() -> RunConfig:
    """Every mechanism once: dropouts, penalties, curriculum, controller, averaging."""
    return RunConfig.from_preset("tiny_recipe/tiny")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of the recipe."""
    return launch.main(RECIPE, argv, default="tiny")


def parse(argv: Sequence[str]) -> tuple[RunConfig, Path, bool]:
    """What the recipe makes of a command line."""
    return launch.parse(RECIPE, argv, "tiny")


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
    sys.exit(main())
