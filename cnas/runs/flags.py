"""Flags of nested configurations: every leaf field has one, and a mistake on the command line is one line.

What a field may hold, and how messages put it, is said in `cnas.fields`.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import sys
import typing
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_origin

from cnas.errors import UserError
from cnas.fields import (
    UNFIT,
    checked,
    described,
    display,
    dotted_name,
    field_docs,
    fit,
    flag_names,
    is_config,
    tuple_items,
    union_members,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def add_flags(parser: OneLineParser, config: DataclassInstance, prefix: str = "", title: str | None = None) -> None:
    """Give every leaf field of a nested configuration a flag, e.g. ``--trainer.global-batch-size 64``.

    Booleans take no value: ``--search.unrolled`` and ``--no-search.unrolled``. Tuples are comma separated, the word
    ``none`` stands for None, and a sub-configuration that is None has no flags. Flags that are not given leave no
    trace in the namespace, so `apply_flags` knows which were.

    Args:
        parser: receives one group per (sub-)configuration.
        config: its current values are the defaults the help shows.
        prefix: dotted name of ``config``; give `apply_flags` the same.
        title: of the group in the help; ``prefix`` where None.

    Example:
        >>> @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class Config:
        ...     k: int = 5
        ...     lr: float | None = None
        >>> parser = OneLineParser()
        >>> add_flags(parser, Config(), prefix="curriculum")
        >>> given = parser.parse_args(["--curriculum.k", "3"])
        >>> apply_flags(Config(), given, prefix="curriculum")
        Config(k=3, lr=None)
        >>> parser.parse_args(["--curriculum.k", "five"])
        Traceback (most recent call last):
        cnas.errors.UserError: --curriculum.k must be an integer, got 'five'
    """
    hints, docs = typing.get_type_hints(type(config)), field_docs(type(config))
    group = parser.add_argument_group(title or prefix or "configuration")
    for name in flag_names(type(config)):
        value, dotted = getattr(config, name), dotted_name(prefix, name)
        if is_config(value):
            add_flags(parser, value, dotted)
        elif not any(map(dataclasses.is_dataclass, union_members(hints[name]))):
            _add_flag(group, dotted, hints[name], docs.get(name, ""), value)
    for old, new in getattr(config, "renamed", {}).items():
        parser.rename(dotted_name(prefix, old), dotted_name(prefix, new))


def apply_flags(config: T, namespace: argparse.Namespace, prefix: str = "") -> T:
    """``config`` with the values that were given on the command line, rebuilt (and so validated) level by level.

    Args:
        config: what the flags were made for.
        namespace: what the parser of `add_flags` returned.
        prefix: as it was given to `add_flags`.

    Raises:
        UserError: what the configurations themselves raise about the new values.
    """
    given, changes = vars(namespace), {}
    for name in flag_names(type(config)):
        value, dotted = getattr(config, name), dotted_name(prefix, name)
        found = apply_flags(value, namespace, dotted) if is_config(value) else given.get(dotted, value)
        if found is not value:
            changes[name] = found
    return dataclasses.replace(config, **changes) if changes else config


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that takes underscores for dashes, no abbreviations, and reports a mistake in one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self._renamed: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._written: dict[str, str] = {}

    def rename(self, other: str, flag: str) -> None:
        """Let a flag be written in another way, which its help names.

        Args:
            other: the other way, without the dashes before it.
            flag: what the parser knows, likewise.
        """
        self._renamed[_dashed(other)] = _dashed(flag)
        action = self._option_string_actions.get(f"--{_dashed(flag)}")
        if action is not None:
            action.help = f"{action.help}; also --{_dashed(other)}"

    def refuse(self, name: str, why: str) -> None:
        """Say why there is no flag of a name that somebody may expect, with whatever prefix."""
        self._refused[_dashed(name)] = why

    def error(self, message: str) -> NoReturn:
        """Raise a `UserError` instead of printing the usage and leaving the process."""
        raise UserError(self.as_written(" ".join(message.split())))

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Like the base class, but a flag may be written with underscores, or in another way that it has.

        Args:
            args: the words of the command line; `sys.argv` where None.
            namespace: receives the values; a new one where None.
        """
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([re.sub("^--(no-)?([^=]+)", self._known, word) for word in words], namespace)

    def _known(self, flag: re.Match[str]) -> str:
        name, no = _dashed(flag[2]), flag[1] or ""
        known = f"--{no}{self._renamed.get(name, name)}"
        self._written[known] = f"--{no}{name}"
        return known

    def as_written(self, message: str) -> str:
        """A message about a flag, with the flag as it was written on the command line."""
        for known, written in self._written.items():
            message = re.sub(rf"{re.escape(known)}(?![\w.-])", written, message)
        return message

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Like the base class, but an unknown flag is named together with the closest known one.

        Args:
            args: the words of the command line; `sys.argv` where None.
            namespace: receives the values; a new one where None.

        Raises:
            UserError: an unknown flag, a word too many, or a value that is not allowed.
        """
        known, rest = self.parse_known_args(args, namespace)
        if not rest:
            return known
        flag = next((word.split("=")[0] for word in rest if word.startswith("-")), None)
        if flag is None:
            raise UserError(f"unexpected argument {display(rest[0])}; --help lists what is allowed")
        if why := self._refused.get(flag.lstrip("-").rpartition(".")[2]):
            raise UserError(f"{flag} is no flag: {why}")
        close = difflib.get_close_matches(
            flag, [*self._option_string_actions, *(f"--{name}" for name in self._renamed)], n=1
        )
        hint = f"did you mean {close[0]}?" if close else "--help lists what is allowed"
        raise UserError(" ".join(f"unknown flag {flag}; {hint}".split()))


class _Store(argparse.Action):
    """Stores one parsed and checked value; argparse would bury the message of a ``type=`` callable."""

    def __init__(self, *, hint: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hint = hint

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        where = parser.as_written(option_string) if isinstance(parser, OneLineParser) else option_string
        setattr(namespace, self.dest, checked(self.hint, _parsed(self.hint, values), where))


def _add_flag(group: argparse._ArgumentGroup, dotted: str, hint: Any, doc: str, default: Any) -> None:
    """The flag of one leaf."""
    text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    about = f"{doc} (default: {'none' if default is None else text or 'empty'})".strip().replace("%", "%%")
    how: dict[str, Any] = {"action": _Store, "hint": hint, "metavar": described(hint, brief=True)}
    if hint is bool:
        how = {"action": argparse.BooleanOptionalAction}
    group.add_argument(f"--{_dashed(dotted)}", dest=dotted, default=argparse.SUPPRESS, help=about, **how)


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _parsed(hint: Any, word: str) -> Any:
    """The value a word of the command line stands for, or the word itself where it fits nowhere."""
    arms = union_members(hint)
    if word == "none" and type(None) in arms:
        return None
    for arm in arms:
        if get_origin(arm) is tuple:
            return [_parsed(tuple_items(arm)[0], part.strip()) for part in word.split(",")] if word else []
    return next((each for each in _readings(word) if any(fit(arm, each, "") is not UNFIT for arm in arms)), word)


def _readings(word: str) -> Iterator[Any]:
    """What a word may mean, beside itself."""
    yield from {"true": [True], "false": [False]}.get(word, [])
    for kind in (int, float):
        with suppress(ValueError):
            yield kind(word)
