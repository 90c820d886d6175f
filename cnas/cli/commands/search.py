"""Search an architecture, train it, measure it and leave a model, in a folder that a later call goes on from.

cnas search --preset ptb_cl_enas/smoke                                # a preset: cnas list presets
cnas search --preset nats_cl/cpu --algorithm darts_v2 --data cifar10  # with another algorithm
cnas search --space enas_rnn --algorithm rsps --data pydoc            # what was published for the space
cnas search --config my.yaml                                          # YAML; or the config.json of a run
accelerate launch -m cnas search --preset ptb_cl_enas/paper           # several processes

Every field of the configuration has a flag, with - or _: cnas search --preset ptb_cl_enas/smoke --help lists them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of ``cnas search`` that decide which others there are."""
    run_flags(parser).add_argument("--space", metavar="NAME", help="start from what was published for a search space")


def run_flags(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The flags that a recipe has too."""
    group = parser.add_argument_group("run")
    group.add_argument("--preset", metavar="NAME", help="start from a preset, see cnas list presets")
    group.add_argument("--config", metavar="FILE", help="start from a YAML file, or the config.json of a run")
    group.add_argument("--algorithm", metavar="NAME", help="search with this one, see cnas list algorithms")
    group.add_argument("--output-dir", metavar="DIR", help="the run folder (default: runs/...)")
    group.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in the run folder")
    group.add_argument("--no-curriculum", action="store_true", help="the plain algorithm: all data weighs the same")
    about = "what the weights of the data come from, see cnas list curricula"
    group.add_argument("--curriculum.name", metavar="NAME", dest="curriculum_name", help=about)
    return group


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Leave the words as they are: which flags there are depends on what some of them say."""
    return argparse.Namespace(words=words)


def run(given: argparse.Namespace) -> str:
    """Do the run; it prints how it goes.

    Raises:
        CnasError: see `cnas.trainer.CurriculumTrainer.train`.
    """
    from cnas.cli import launch

    launch.start(*launch.parse(None, given.words))
    return ""
