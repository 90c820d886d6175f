"""Write any network of a search with the weights that it has left for it, without training: a model folder and a card.

cnas extract runs/front "w192 d4 h4 m576"                   # runs/front/extracted/w192-d4-h4-m576
cnas extract runs/front "w96 d2 h1 m192" models/smallest

It takes the newest checkpoint of the search, which a run keeps, and measures the network on validation data. Networks
of recurrent and convolutional cells have sizes of their own, for which a search has no weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cnas.errors import UserError


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas extract`` takes."""
    parser.add_argument("run", metavar="RUN", help="folder of a run that has searched")
    parser.add_argument("architecture", metavar="ARCHITECTURE", help="in the notation of the space")
    parser.add_argument("out", metavar="OUT", nargs="?", help="a new folder (default: one in RUN/extracted)")


def run(given: argparse.Namespace) -> str:
    """The path of the model folder.

    Raises:
        UserError: the folder is not that of a search, there is no such architecture, or OUT is there already.
        StorageError: the disk refuses.
    """
    from cnas.cli.launch import read_config
    from cnas.trainer import CurriculumTrainer

    folder = Path(given.run)
    if not (folder / "config.json").is_file():
        raise UserError(f"run must be the folder of a run, got {given.run!r:.60}, which has no config.json")
    trainer = CurriculumTrainer.from_config(read_config(folder / "config.json"), folder)
    return str(trainer.extract(given.architecture, given.out))
