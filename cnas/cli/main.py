"""The `cnas` command: a module of `cnas.cli.commands` for each of its commands, errors in one line.

Nothing heavy is imported before a command runs, so that its help is there at once.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

import cnas
from cnas.cli import commands
from cnas.cli.completion import SHELLS, PrintCompletion
from cnas.errors import INTERRUPTED, CnasError, StorageError, UserError, reported
from cnas.runs.flags import OneLineParser

REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
"""Of a disk that is full, broken or read-only."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``cnas COMMAND …``; returns the exit code (see `cnas.errors`).

    Args:
        argv: the command line without the program's name; `sys.argv` where None.
    """

    def action() -> None:
        command, given = parse(sys.argv[1:] if argv is None else argv)
        if text := command.run(given):
            print(text, flush=True)

    return exit_code(action)


def exit_code(action: Callable[[], int | None]) -> int:
    """The exit code of a command, a recipe or a run; an error of `cnas` is printed as one line (see `cnas.errors`).

    Args:
        action: what it does; may return an exit code.
    """
    try:
        return action() or 0
    except CnasError as problem:
        return reported(problem)
    except KeyboardInterrupt:
        # Before a run catches signals, or after it; there is nothing to save.
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads has read enough. What is still buffered must not raise when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as problem:
        # A disk may refuse anything at any time, what is printed into a file among it.
        if problem.errno not in REFUSED and problem.filename is None:
            raise
        return reported(StorageError(f"the disk refused: {problem}"))


def parse(argv: Sequence[str]) -> tuple[ModuleType, argparse.Namespace]:
    """(module of the command, values of its flags) of a command line.

    Args:
        argv: the command line without the program's name.

    Raises:
        UserError: no such command, an unknown flag, or a value that is not allowed.
    """
    name, *rest = argv or [""]
    parser, parsers = _parsers()
    if name.startswith("-"):
        parser.parse_args(argv)
    if name not in parsers:
        raise UserError(f"command must be one of {', '.join(parsers)}, got {name[:40]!r}; cnas --help says more")
    command = _command(name)
    own = None if rest in (["-h"], ["--help"]) else getattr(command, "parse", None)
    return command, (own or parsers[name].parse_args)(rest)


def names() -> list[str]:
    """The names of all commands, sorted.

    Example:
        >>> "compare" in names()
        True
    """
    return sorted(module.name for module in pkgutil.iter_modules(commands.__path__) if module.name[0] != "_")


def _parsers() -> tuple[OneLineParser, dict[str, OneLineParser]]:
    """The parser of the whole command line, and by name those of the commands, which are part of it."""
    parser = OneLineParser(
        prog="cnas",
        usage="cnas COMMAND …",
        description="Curriculum neural architecture search.",
        epilog="examples:\n  cnas search --preset ptb_cl_enas/smoke\n  cnas COMMAND --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cnas {cnas.__version__}")
    parser.add_argument(
        "--print-completion", action=PrintCompletion, choices=SHELLS, help="print what the shell needs to complete cnas"
    )
    listed = parser.add_subparsers(title="commands", prog="cnas", metavar="COMMAND")
    for name in names():
        doc = inspect.getdoc(_command(name)) or ""
        command = listed.add_parser(
            name, help=doc.split("\n")[0], description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        _command(name).add_flags(command)
    return parser, dict(listed.choices)


def _command(name: str) -> ModuleType:
    return importlib.import_module(f"{commands.__name__}.{name}")
