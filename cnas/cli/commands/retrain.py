"""Train the network that a search has found, measure it and leave a model; a stopped search is brought to its end.

cnas retrain runs/first                                                       # go on with the run
cnas retrain runs/first --retrain.num_train_epochs 20 --output-dir runs/long  # the same cell, trained otherwise
cnas retrain runs/first --architecture "0 1 1 2" --output-dir runs/other      # another architecture

The folder of the run comes first. What is changed needs a new folder, so that a run is what its config.json says.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnas.errors import UserError
from cnas.runs.flags import OneLineParser

if TYPE_CHECKING:
    from cnas.runs.config import RunConfig

SEARCHED = ("space", "search", "curriculum")
"""Sections that a training does not depend on."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of ``cnas retrain`` that do not depend on the run."""
    parser.add_argument("run", metavar="RUN", help="folder of a run: a finished or a stopped search")
    parser.add_argument("--output-dir", metavar="DIR", help="a new folder, where anything is changed")
    parser.add_argument("--resume", action="store_true", help="go on with a training in --output-dir")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Leave the words as they are: the run says which flags there are."""
    return argparse.Namespace(words=words)


def run(given: argparse.Namespace) -> str:
    """Do the training; it prints how it goes.

    Raises:
        UserError: there is no such run, a flag is wrong, or a change needs a new folder.
        CnasError: see `cnas.trainer.CurriculumTrainer.train`.
    """
    from cnas.cli import launch

    launch.start(*plan(given.words))
    return ""


def plan(words: Sequence[str]) -> tuple[RunConfig, Path, bool]:
    """(configuration, run folder, whether to resume) of a command line.

    Args:
        words: the folder of the run, then flags.

    Raises:
        UserError: as `run`.
    """
    from cnas.cli.launch import read_config
    from cnas.runs.folder import home_folder
    from cnas.runs.run_flags import add_run_flags, with_run_flags

    folder = Path(words[0]) if words and not words[0].startswith("-") else None
    if folder is None or not (folder / "config.json").is_file():
        raise UserError(f"run must come first and be the folder of a run, got {words[0] if words else ''!r:.60}")
    before = read_config(folder / "config.json")
    parser = OneLineParser(prog="cnas retrain")
    add_flags(parser)
    add_run_flags(before, parser, without=SEARCHED)
    given = parser.parse_args(list(words))
    after = with_run_flags(before, given)
    if not after.retrain.num_train_epochs:
        raise UserError("--retrain.num_train_epochs must be at least 1, got 0")
    if after == before and given.output_dir is None:
        return after, folder, True
    if given.output_dir is None:
        raise UserError(f"run {folder} has other values; name a new folder for these with --output-dir")
    after = replace(after, architecture=_architecture(after, folder), curriculum=None)
    return after, home_folder(given.output_dir), given.resume


def _architecture(config: RunConfig, folder: Path) -> str:
    from cnas.runs.folder import RunFolder, chosen

    found = RunFolder(folder).read_json("search.json")
    if config.architecture is None and found is None:
        raise UserError(f"run {folder} has found nothing yet: cnas retrain {folder} goes on with it; or --architecture")
    return config.architecture or chosen(found or {})
