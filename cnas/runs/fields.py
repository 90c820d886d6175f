"""Configurations: frozen, nested dataclasses that become JSON, come back strictly, and grow their own flags.

Nothing here knows a concrete configuration. A field may be ``int``, ``float``, ``bool``, ``str``, ``Literal[...]``,
``tuple[X, ...]`` or, of fixed length, ``tuple[X, X]``, another dataclass, or a union of these with ``None``. Its help
text is the string literal below it. Every message names the dotted field (or the flag), the value and what is allowed,
in one line.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import difflib
import inspect
import itertools
import math
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin

from cnas.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_KINDS = {
    int: ("INT", "an integer"),
    float: ("NUMBER", "a finite number"),
    bool: ("true|false", "true or false"),
    str: ("TEXT", "a text"),
    type(None): ("none", "none"),
}
"""What stands for a value in the help, and what it is called in a message."""
_UNFIT = object()


def to_dict(config: DataclassInstance, where: str = "") -> dict[str, Any]:
    """The configuration as JSON-able dicts, lists and scalars; `from_dict` reads it back.

    Args:
        config: any dataclass instance.
        where: dotted name of ``config`` itself, for messages.

    Raises:
        UserError: a field holds something its annotation does not allow, e.g. an infinite number.
    """
    hints = typing.get_type_hints(type(config))
    dotted = {name: _join(where, name) for name in _names(type(config))}
    return {name: _plain(_checked(hints[name], getattr(config, name), path), path) for name, path in dotted.items()}


def from_dict(cls: type[T], mapping: Mapping[str, Any], where: str = "") -> T:
    """The configuration that `to_dict` wrote; strict: every field is there, nothing else is, and the types fit.

    Args:
        cls: the dataclass to build.
        mapping: one entry per field; lists stand for tuples, integers may stand for floats.
        where: dotted name of ``mapping`` itself, for messages.

    Raises:
        UserError: an unknown key, a missing one or a value of the wrong type; and what ``cls`` itself raises.
    """
    names, hints = _names(cls), typing.get_type_hints(cls)
    if not isinstance(mapping, Mapping):
        raise UserError(f"{where or cls.__name__} must be {_words(cls)}, got {display(mapping)}")
    for key in mapping:
        if key not in names:
            found = _join(where, key if str(key).isprintable() else repr(key))
            raise UserError(f"{found} is not a field, got {display(mapping[key])}; allowed: {', '.join(names)}")
    for name in names:
        if name not in mapping:
            raise UserError(f"{_join(where, name)} is missing; it must be {_words(hints[name])}")
    return cls(**{name: _checked(hints[name], mapping[name], _join(where, name)) for name in names})


def field_docs(cls: type) -> dict[str, str]:
    """The string literal below each field, inherited ones included, as one paragraph.

    Fields without one are left out, and so is everything where the source is not at hand.
    """
    docs: dict[str, str] = {}
    for base in filter(dataclasses.is_dataclass, reversed(cls.__mro__)):
        with suppress(OSError, TypeError):
            source = inspect.getsource(base)
            # A class inside a function comes indented, and a docstring may forbid dedenting it.
            tree = ast.parse(f"if True:\n{source}" if source[0].isspace() else source)
            body = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)).body
            for pair in itertools.pairwise(body):
                match pair:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        docs[name] = " ".join(text.split())
    return docs


def add_flags(
    parser: argparse.ArgumentParser, config: DataclassInstance, prefix: str = "", title: str | None = None
) -> None:
    """Give every leaf field of a nested configuration a flag, e.g. ``--trainer.batch-size 64``.

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
    for name in _names(type(config)):
        value, dotted = getattr(config, name), _join(prefix, name)
        if _is_config(value):
            add_flags(parser, value, dotted)
        elif not any(map(dataclasses.is_dataclass, _arms(hints[name]))):
            _add_flag(group, dotted, hints[name], docs.get(name, ""), value)


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
    for name in _names(type(config)):
        value, dotted = getattr(config, name), _join(prefix, name)
        found = apply_flags(value, namespace, dotted) if _is_config(value) else given.get(dotted, value)
        if found is not value:
            changes[name] = found
    return dataclasses.replace(config, **changes) if changes else config


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that takes underscores for dashes, no abbreviations, and reports a mistake in one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Raise a `UserError` instead of printing the usage and leaving the process."""
        raise UserError(" ".join(message.split()))

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Like the base class, but a flag may be written with underscores.

        Args:
            args: the words of the command line; `sys.argv` where None.
            namespace: receives the values; a new one where None.
        """
        words = sys.argv[1:] if args is None else args
        dashed = [re.sub("^--[^=]+", lambda flag: flag[0].replace("_", "-"), word) for word in words]
        return super().parse_known_args(dashed, namespace)

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
        close = difflib.get_close_matches(flag, self._option_string_actions, n=1)
        hint = f"did you mean {close[0]}?" if close else "--help lists what is allowed"
        raise UserError(" ".join(f"unknown flag {flag}; {hint}".split()))


class _Store(argparse.Action):
    """Stores one parsed and checked value; argparse would bury the message of a ``type=`` callable."""

    def __init__(self, *, hint: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hint = hint

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:  # noqa: ARG002
        setattr(namespace, self.dest, _checked(self.hint, _parsed(self.hint, values), option_string))


def display(value: Any) -> str:
    """A value as a message shows it: ``repr`` on one line, cut where it is long.

    Args:
        value: what somebody gave.

    Example:
        >>> display(["a", "b"])
        "['a', 'b']"
    """
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python does not print numbers of thousands of digits
        return f"a {type(value).__name__} too long to be shown"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _add_flag(group: argparse._ArgumentGroup, dotted: str, hint: Any, doc: str, default: Any) -> None:
    """The flag of one leaf."""
    text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    about = f"{doc} (default: {'none' if default is None else text or 'empty'})".strip().replace("%", "%%")
    how: dict[str, Any] = {"action": _Store, "hint": hint, "metavar": _words(hint, brief=True)}
    if hint is bool:
        how = {"action": argparse.BooleanOptionalAction}
    group.add_argument(f"--{dotted.replace('_', '-')}", dest=dotted, default=argparse.SUPPRESS, help=about, **how)


def _checked(hint: Any, value: Any, where: str) -> Any:
    """``value`` as ``hint`` wants it: lists become tuples, integers floats, mappings dataclasses."""
    fits = (_fit(arm, value, where) for arm in _arms(hint))
    found = next((each for each in fits if each is not _UNFIT), _UNFIT)
    if found is _UNFIT:
        raise UserError(f"{where} must be {_words(hint)}, got {display(value)}")
    return found


def _fit(arm: Any, value: Any, where: str) -> Any:
    """``value`` in the form it has in one arm of a union, or `_UNFIT`."""
    if get_origin(arm) is Literal:
        same = any(option == value and type(option) is type(value) for option in get_args(arm))
        return value if same else _UNFIT
    if get_origin(arm) is tuple:
        item, length = _items(arm)
        fits = isinstance(value, (list, tuple)) and length in {None, len(value)}
        return tuple(_checked(item, each, f"{where}[{i}]") for i, each in enumerate(value)) if fits else _UNFIT
    if isinstance(value, Mapping) and dataclasses.is_dataclass(arm):
        return from_dict(arm, value, where)  # type: ignore[arg-type]
    if isinstance(value, bool) and arm is not bool:
        return _UNFIT  # a bool is an int for Python, not for a reader
    if arm is float:
        return float(value) if _is_finite(value) else _UNFIT
    return value if isinstance(value, arm) else _UNFIT


def _is_finite(value: Any) -> bool:
    with suppress(OverflowError):  # an integer beyond the largest float
        return isinstance(value, (int, float)) and math.isfinite(value)
    return False


def _parsed(hint: Any, word: str) -> Any:
    """The value a word of the command line stands for, or the word itself where it fits nowhere."""
    arms = _arms(hint)
    if word == "none" and type(None) in arms:
        return None
    for arm in arms:
        if get_origin(arm) is tuple:
            return [_parsed(_items(arm)[0], part.strip()) for part in word.split(",")] if word else []
    return next((each for each in _readings(word) if any(_fit(arm, each, "") is not _UNFIT for arm in arms)), word)


def _readings(word: str) -> Iterator[Any]:
    """What a word may mean, beside itself."""
    yield from {"true": [True], "false": [False]}.get(word, [])
    for kind in (int, float):
        with suppress(ValueError):
            yield kind(word)


def _plain(value: Any, where: str) -> Any:
    """A checked value in the types of JSON."""
    if _is_config(value):
        return to_dict(value, where)
    return [_plain(each, where) for each in value] if isinstance(value, tuple) else value


def _is_config(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _arms(hint: Any) -> tuple[Any, ...]:
    """The members of a union; any other annotation is a union of itself."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _items(hint: Any) -> tuple[Any, int | None]:
    """What a tuple holds, and how many of it: None is any number."""
    items = get_args(hint)
    return items[0], None if items[-1] is ... else len(items)


def _words(hint: Any, brief: bool = False) -> str:
    """What is allowed, as a message says it or, in brief, as the help shows it."""
    if len(arms := _arms(hint)) > 1:
        return ("|" if brief else " or ").join(_words(arm, brief) for arm in arms)
    if get_origin(hint) is Literal:
        options = [str(option) for option in get_args(hint)]
        return "|".join(options) if brief else f"one of {', '.join(options)}"
    if get_origin(hint) is tuple:
        item, length = _items(hint)
        if brief:
            return f"{_words(item, brief)},..." if length is None else ",".join([_words(item, brief)] * length)
        return f"a list{'' if length is None else f' of {length}'}, each item {_words(item)}"
    if dataclasses.is_dataclass(hint):
        return f"a mapping with the keys {', '.join(_names(hint))}"
    return _KINDS[hint][not brief] if hint in _KINDS else f"a {getattr(hint, '__name__', hint)}"


def _names(cls: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.init]


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
