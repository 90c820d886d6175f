"""The `cnas` command: dispatches to the modules of `cnas.cli.commands`, prints errors in one line."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import cnas
from cnas.cli import commands
from cnas.cli.completion import SHELLS, script
from cnas.errors import INTERRUPTED, CnasError, StorageError, UserError, reported
from cnas.runs.fields import OneLineParser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``cnas COMMAND …``; returns the exit code (see `cnas.errors`).

    Args:
        argv: the command line without the program's name; `sys.argv` where None.
    """
    return exit_code(lambda: _run(sys.argv[1:] if argv is None else argv))


def exit_code(action: Callable[[], int]) -> int:
    """What ``action`` returns; an error of `cnas` becomes one line on stderr and its exit code.

    Args:
        action: what the command does.
    """
    try:
        return action()
    except CnasError as problem:
        return reported(problem)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads has read enough. What is still buffered must not raise when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as problem:
        return reported(StorageError(f"the disk refused: {problem}"))


def _run(argv: Sequence[str]) -> int:
    command, given = parse(argv)
    print(command.run(given), flush=True)
    return 0


def parse(argv: Sequence[str]) -> tuple[ModuleType, argparse.Namespace]:
    """(module of the command, what its flags say) of a command line.

    Args:
        argv: the command line without the program's name.

    Raises:
        UserError: no such command, an unknown flag, or a value that is not allowed.
    """
    name, *rest = argv or [""]
    if name.startswith("-"):
        _parser().parse_args(argv)
    known = names()
    if name not in known:
        raise UserError(f"command must be one of {', '.join(known)}, got {name[:40]!r}; cnas --help says more")
    command = _command(name)
    parser = OneLineParser(prog=f"cnas {name}", description=_doc(command), formatter_class=_Formatter)
    command.add_flags(parser)
    return command, parser.parse_args(rest)


def names() -> list[str]:
    """The commands there are, sorted.

    Example:
        >>> "compare" in names()
        True
    """
    return sorted(module.name for module in pkgutil.iter_modules(commands.__path__) if module.name[0] != "_")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps examples as they are written."""


def _parser() -> OneLineParser:
    lines = [f"  {name:10}{_summary(name)}" for name in names()]
    examples = "examples:\n  cnas compare runs/first runs/second\n  cnas COMMAND --help"
    parser = OneLineParser(
        prog="cnas",
        usage="cnas COMMAND …",
        description="Curriculum neural architecture search.",
        epilog="\n".join(["commands:", *lines, "", examples]),
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"cnas {cnas.__version__}")
    parser.add_argument(
        "--print-completion", action=_Completion, choices=SHELLS, help="print what the shell needs to complete cnas"
    )
    return parser


class _Completion(argparse.Action):
    """Prints the script and ends, as ``--version`` does."""

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        _, values, _ = given
        print(script(_whole_parser(), values), flush=True)
        parser.exit()


def _whole_parser() -> argparse.ArgumentParser:
    """All commands in one parser; it is read by the completion, and parses nothing itself."""
    parser = _parser()
    listed = parser.add_subparsers(metavar="COMMAND")
    for name in names():
        _command(name).add_flags(listed.add_parser(name, help=_summary(name)))
    return parser


def _command(name: str) -> ModuleType:
    return importlib.import_module(f"{commands.__name__}.{name}")


def _summary(name: str) -> str:
    """The first line of a command's help."""
    return _doc(_command(name)).splitlines()[0]


def _doc(command: ModuleType) -> str:
    return inspect.getdoc(command) or ""
