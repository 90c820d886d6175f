"""From the command line to a run: presets, flags, one-line errors and exit codes; recipes and `cnas search` alike."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnas import algorithms, presets, spaces
from cnas.cli.commands import search
from cnas.cli.main import exit_code
from cnas.errors import UserError
from cnas.fields import nearest
from cnas.hub.artifacts import summary
from cnas.runs.choices import published
from cnas.runs.config import RunConfig
from cnas.runs.flags import OneLineParser
from cnas.runs.folder import home_folder
from cnas.runs.run_flags import add_run_flags, with_run_flags
from cnas.trainer import CurriculumTrainer
from cnas.training.time_limit import process_started

Check = Callable[[RunConfig], None]


def main(recipe: str, argv: Sequence[str] | None = None, *, default: str = "cpu", check: Check | None = None) -> int:
    """Run a recipe; returns the exit code (see `cnas.errors`).

    Args:
        recipe: whose presets ``--preset`` chooses among.
        argv: the command line without the program's name; `sys.argv` where None.
        default: the preset that is taken where none is named.
        check: raises what the recipe has against a configuration.
    """

    def action() -> None:
        config, folder, resume = parse(recipe, sys.argv[1:] if argv is None else argv, default)
        if check is not None:
            check(config)
        start(config, folder, resume)

    return exit_code(action)


def start(config: RunConfig, folder: Path, resume: bool) -> None:
    """Do the run of a configuration, and print what came of it.

    Args:
        config: of the run.
        folder: of the run.
        resume: go on with what the folder holds.
    """
    log(f"preset {config.preset} · data {config.data} · output {folder}")
    trainer = CurriculumTrainer.from_config(config, folder)
    trainer.started = process_started()
    try:
        trainer.train(resume)
    finally:
        trainer.close()
    log(summary(folder))


def parse(recipe: str | None, argv: Sequence[str], default: str = "cpu") -> tuple[RunConfig, Path, bool]:
    """(configuration, run folder, whether to resume) of a command line.

    Args:
        recipe: whose presets ``--preset`` chooses among; None is `cnas search`, which knows all of them.
        argv: the command line without the program's name.
        default: the preset of the recipe that is taken where none is named.

    Raises:
        UserError: an unknown flag or preset, or a value that is not allowed.
    """
    first = _first_parser(recipe)
    known, _ = first.parse_known_args(argv)
    config, given = _changed(_chosen(known, recipe, default), known, first, argv, recipe)
    return config, home_folder(given.output_dir or config.default_folder), given.resume


def with_flags(config: RunConfig, argv: Sequence[str]) -> RunConfig:
    """A configuration with the flags of a command line applied.

    Args:
        config: what the flags change.
        argv: the words.

    Raises:
        UserError: an unknown flag, or a value that is not allowed.
    """
    first = _first_parser("")
    return _changed(config, first.parse_known_args(argv)[0], first, argv, "")[0]


def _first_parser(recipe: str | None) -> OneLineParser:
    """The flags that decide which others there are."""
    parser = OneLineParser(add_help=False)
    (search.add_flags if recipe is None else search.run_flags)(parser)
    return parser


def _changed(
    config: RunConfig, known: argparse.Namespace, first: OneLineParser, argv: Sequence[str], recipe: str | None
) -> tuple[RunConfig, argparse.Namespace]:
    """(configuration with all flags applied, their values)."""
    if known.no_curriculum:
        config = replace(config, curriculum=None)
    if known.curriculum_name is not None:
        config = config.with_curriculum(known.curriculum_name)
    parser = OneLineParser(
        prog="cnas search" if recipe is None else None,
        description=None if recipe is None else textwrap.dedent(sys.modules["__main__"].__doc__ or ""),
        parents=[first],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_flags(config, parser)
    given = parser.parse_args(list(argv))
    return with_run_flags(config, given), given


def _chosen(known: argparse.Namespace, recipe: str | None, default: str) -> RunConfig:
    """The configuration before any field of it is changed."""
    given: dict[str, Any] = {name: getattr(known, name, None) for name in ("config", "preset", "space", "algorithm")}
    if known.config is not None:
        if other := next((name for name, value in given.items() if value is not None and name != "config"), None):
            raise UserError(f"--config {known.config} already names everything; leave out --{other} {given[other]}")
        return read_config(Path(known.config))
    _check_names(given)
    if given["space"] is not None:
        if known.preset is not None:
            raise UserError(f"--preset {known.preset} has a space; leave out --space {known.space}")
        return published(known.space, known.algorithm)
    preset = known.preset or (recipe and default)
    if preset is None:
        raise UserError("one of --preset, --space and --config must be given; cnas list presets shows what there is")
    if recipe is not None:
        allowed = [name.partition("/")[2] for name in presets.names() if name.startswith(f"{recipe}/")]
        if preset not in allowed:
            raise UserError(
                f"--preset must be one of {', '.join(allowed)}, got {preset!r:.60}{nearest(preset, allowed)}"
            )
        preset = f"{recipe}/{preset}"
    return RunConfig.from_preset(preset, known.algorithm)


def _check_names(given: Mapping[str, Any]) -> None:
    """Refuse names that nothing has, as flags."""
    for name, find in (("algorithm", algorithms.default_config), ("space", spaces.space_class)):
        if given[name] is not None:
            try:
                find(given[name])
            except UserError as problem:
                raise UserError(f"--{problem}") from problem


def read_config(file: Path) -> RunConfig:
    """The configuration in a file: the ``config.json`` of a run, or YAML that leaves out what is a default.

    Args:
        file: JSON, unless it ends in ``.yaml`` or ``.yml``.

    Raises:
        UserError: it cannot be read, or is wrong.
    """
    if file.suffix in (".yaml", ".yml"):
        try:
            return RunConfig.assemble(presets.read(file))
        except UserError as problem:
            raise UserError(f"--config {str(problem).removeprefix(f'{file}: ')} ({file})") from problem
    try:
        values = json.loads(file.read_text("utf-8"))
    except OSError as problem:
        raise UserError(f"--config {file} cannot be read: {problem.strerror}") from problem
    except (ValueError, RecursionError) as problem:
        raise UserError(f"--config {file} is not JSON: {problem}") from problem
    return RunConfig.from_json(values)


def log(text: str) -> None:
    """Print a line, by one of several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)
