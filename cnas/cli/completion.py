"""Prints what a shell needs to complete the `cnas` command, made from the parser that reads a command line."""

from __future__ import annotations

import argparse
from typing import Any

SHELLS = ("bash", "zsh")
"""Shells that a script can be printed for."""
PATHS = {"RUN": "DIRECTORY", "DIR": "DIRECTORY", "SRC": "DIRECTORY", "FILE": "FILE", "OUT.parquet": "FILE"}
"""What the help calls a value that is a path, and which of them shells offer for it."""


class PrintCompletion(argparse.Action):
    """A flag that prints the script and ends, as ``--version`` does.

    Example:
        >>> parser = argparse.ArgumentParser(prog="tool")
        >>> _ = parser.add_argument("--print-completion", action=PrintCompletion, choices=SHELLS)
        >>> _ = parser.add_argument("--output", metavar="FILE")
        >>> parser.parse_args(["--print-completion", "bash"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        SystemExit: 0
    """

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        """Print the script for the shell that is named, and leave the process."""
        import shtab

        _mark_paths(parser)
        print(shtab.complete(parser, given[1]), flush=True)
        parser.exit()


def _mark_paths(parser: argparse.ArgumentParser) -> None:
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _mark_paths(command)
        elif action.metavar in PATHS:
            action.complete = getattr(shtab, PATHS[str(action.metavar)])  # type: ignore[attr-defined]
