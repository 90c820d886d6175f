"""Let the model of a finished run go on with a text.

cnas generate runs/first "the company said"
cnas generate runs/first "the company" --lines 3 --seed 7

Words the model does not know are <unk>; none is generated. Without a text a line is begun from nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cnas.errors import UserError


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas generate`` takes."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("text", metavar="TEXT", nargs="?", default="", help="what the line begins with")
    parser.add_argument("--lines", type=int, default=1, metavar="N", help="how many (default: 1)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the draws (default: 1)")


def run(given: argparse.Namespace) -> str:
    """The lines.

    Raises:
        UserError: the folder holds no language model, or a number is not allowed.
    """
    model = Path(given.run) / "model"
    if not (model / "config.json").is_file():
        raise UserError(f"run {given.run} holds no model/; name the folder of a finished run")
    if not (model / "tokenizer.json").is_file():
        raise UserError(f"run {given.run} holds no language model: its model/ has no tokenizer.json")
    if given.lines < 1:
        raise UserError(f"--lines must be at least 1, got {given.lines}")
    from cnas.hub import generate_lines

    return "\n".join(generate_lines(model, given.lines, given.seed, prompt=given.text))
