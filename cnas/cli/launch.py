"""From the command line to a run: presets, flags, one-line errors and exit codes.

A recipe is a dictionary of functions that return a complete `RunConfig`; everything else is here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cnas import curricula
from cnas.cli.main import exit_code
from cnas.errors import UserError
from cnas.hub.artifacts import summary
from cnas.runs.config import RunConfig
from cnas.runs.flags import OneLineParser
from cnas.trainer import CurriculumTrainer

Preset = Callable[[], RunConfig]
Parse = Callable[[Sequence[str]], tuple[RunConfig, Path, bool]]


def main(
    presets: Mapping[str, Preset], argv: Sequence[str] | None = None, *, default: str = "cpu", own: Parse | None = None
) -> int:
    """Run a recipe; returns the exit code (see `cnas.errors`).

    Args:
        presets: complete configurations by name.
        argv: the command line without the program's name; `sys.argv` where None.
        default: the preset that is taken where none is named.
        own: the recipe's own reader of its command line, in place of `parse`.
    """
    words = sys.argv[1:] if argv is None else argv

    def action() -> None:
        config, folder, resume = parse(presets, words, default) if own is None else own(words)
        _log(f"preset {config.preset} · data {config.data} · output {folder}")
        trainer = CurriculumTrainer.from_config(config, folder)
        try:
            trainer.train(resume)
        finally:
            trainer.close()
        _log(summary(folder))

    return exit_code(action)


def parse(
    presets: Mapping[str, Preset],
    argv: Sequence[str],
    default: str,
    parents: Sequence[argparse.ArgumentParser] = (),
) -> tuple[RunConfig, Path, bool]:
    """(configuration, run folder, whether to resume) of a command line.

    Args:
        presets: complete configurations by name.
        argv: the command line without the program's name.
        default: the preset that is taken where none is named.
        parents: with flags that the recipe has read itself.

    Raises:
        UserError: an unknown flag or preset, or a value that is not allowed.
    """
    known, _ = _first_parser().parse_known_args(argv)
    if known.preset is not None and known.preset not in presets:
        raise UserError(f"--preset must be one of {', '.join(presets)}, got {known.preset!r}")
    if known.preset is not None and known.config is not None:
        raise UserError(f"--config {known.config} already names everything; leave out --preset {known.preset}")
    config = presets[known.preset or default]() if known.config is None else _read(Path(known.config))
    parser = OneLineParser(
        description=textwrap.dedent(sys.modules["__main__"].__doc__ or ""),
        parents=[_first_parser(), *parents],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if known.no_curriculum:
        config = replace(config, curriculum=None)
    if known.curriculum_name is not None:
        config = config.with_curriculum(known.curriculum_name)
    config.add_flags(parser)
    given = parser.parse_args(list(argv))
    config = config.with_flags(given)
    return config, Path(given.output_dir or config.default_folder), given.resume


def _read(file: Path) -> RunConfig:
    """The configuration that a run has left."""
    try:
        values = json.loads(file.read_text("utf-8"))
    except OSError as problem:
        raise UserError(f"--config {file} cannot be read: {problem.strerror}") from problem
    except (ValueError, RecursionError) as problem:
        raise UserError(f"--config {file} is not JSON: {problem}") from problem
    return RunConfig.from_json(values)


def _first_parser() -> OneLineParser:
    parser = OneLineParser(add_help=False)
    group = parser.add_argument_group("run")
    group.add_argument("--preset", metavar="NAME", help="a complete configuration: smoke, cpu or paper")
    group.add_argument("--config", metavar="FILE", help="start from the config.json of a run instead of a preset")
    group.add_argument("--output-dir", metavar="DIR", help="the run folder (default: runs/...)")
    group.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in the run folder")
    group.add_argument("--no-curriculum", action="store_true", help="the plain algorithm: all data weighs the same")
    about = f"what the weights of the data come from: {', '.join(curricula.names())}"
    group.add_argument("--curriculum.name", metavar="NAME", dest="curriculum_name", help=about)
    return parser


def _log(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)
