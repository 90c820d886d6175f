"""What a shell needs to complete the `cnas` command, made from the same parsers that read a command line."""

from __future__ import annotations

import argparse

import shtab

SHELLS = ("bash", "zsh")
"""Shells that a script can be printed for."""
FOLDERS, FILES = {"RUN", "DIR", "SRC"}, {"FILE", "OUT.parquet"}
"""What the help calls a value that is a folder, or a file; shells complete those as paths."""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of a command line.

    Args:
        parser: of the whole command, its commands among it as sub-parsers; paths are found by their metavars.
        shell: one of `SHELLS`.

    Example:
        >>> parser = argparse.ArgumentParser(prog="tool")
        >>> _ = parser.add_argument("--output", metavar="FILE")
        >>> "--output" in script(parser, "bash")
        True
    """
    _mark_paths(parser)
    text: str = shtab.complete(parser, shell)
    return text


def _mark_paths(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _mark_paths(command)
        elif action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
