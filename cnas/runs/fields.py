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
import types
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin

from cnas.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_SCALARS = {int: "an integer", float: "a finite number", bool: "true or false", str: "a text", type(None): "none"}
_METAVARS = {int: "INT", float: "NUMBER", bool: "true|false", str: "TEXT", type(None): "none"}


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
    names = _names(cls)
    if not isinstance(mapping, Mapping):
        raise UserError(f"{where or cls.__name__} must be {_described(cls)}, got {_shown(mapping)}")
    for key in mapping:
        if key not in names:
            found = _join(where, key if str(key).isprintable() else repr(key))
            raise UserError(f"{found} is not a field, got {_shown(mapping[key])}; allowed: {', '.join(names)}")
    hints = typing.get_type_hints(cls)
    for name in names:
        if name not in mapping:
            raise UserError(f"{_join(where, name)} is missing; it must be {_described(hints[name])}")
    return cls(**{name: _checked(hints[name], mapping[name], _join(where, name)) for name in names})


def field_docs(cls: type) -> dict[str, str]:
    """The string literal below each field, inherited ones included, as one paragraph.

    Fields without one are left out, and so is everything where the source is not at hand.
    """
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            docs |= _own_field_docs(base)
    return docs


def add_flags(
    parser: argparse.ArgumentParser, config: DataclassInstance, prefix: str = "", title: str | None = None
) -> None:
    """Give every leaf field of a nested configuration a flag, e.g. ``--trainer.batch-size 64``.

    Underscores are accepted for dashes. Booleans take no value: ``--search.unrolled`` and ``--no-search.unrolled``.
    Tuples are comma separated, the word ``none`` stands for None, and a sub-configuration that is None has no flags.
    Flags that are not given leave no trace in the namespace, so `apply_flags` knows which were.

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
    nested: dict[str, DataclassInstance] = {}
    for name in _names(type(config)):
        value = getattr(config, name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            nested[_join(prefix, name)] = value
        elif any(not dataclasses.is_dataclass(arm) for arm in _arms(hints[name]) if arm is not type(None)):
            _add_flag(group, _join(prefix, name), hints[name], docs.get(name, ""), value)
    for dotted, value in nested.items():
        add_flags(parser, value, dotted)


def apply_flags(config: T, namespace: argparse.Namespace, prefix: str = "") -> T:
    """``config`` with the values that were given on the command line, rebuilt (and so validated) level by level.

    Args:
        config: what the flags were made for.
        namespace: what the parser of `add_flags` returned.
        prefix: as it was given to `add_flags`.

    Raises:
        UserError: what the configurations themselves raise about the new values.
    """
    hints, given, changes = typing.get_type_hints(type(config)), vars(namespace), {}
    for name in _names(type(config)):
        value, dotted = getattr(config, name), _join(prefix, name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes[name] = apply_flags(value, namespace, dotted)
        elif dotted in given:
            changes[name] = _checked(hints[name], given[dotted], dotted)
    changes = {name: value for name, value in changes.items() if value is not getattr(config, name)}
    return dataclasses.replace(config, **changes) if changes else config


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations and reports a mistake as a `UserError` of one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Raise a `UserError` instead of printing the usage and leaving the process."""
        raise UserError(" ".join(message.split()))

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
            raise UserError(f"unexpected argument {_shown(rest[0])}; --help lists what is allowed")
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


def _add_flag(group: argparse._ArgumentGroup, dotted: str, hint: Any, doc: str, default: Any) -> None:
    """The flag of one leaf; the spelling with underscores works but is not listed twice."""
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    dashed = dotted.replace("_", "-")
    notes = f"default: {'none' if default is None else shown or 'empty'}" + (
        f"; off: --no-{dashed}" if hint is bool else ""
    )
    common: dict[str, Any] = {"dest": dotted, "default": argparse.SUPPRESS}
    for name in dict.fromkeys([dashed, dotted]):
        listed = f"{doc} ({notes})".strip().replace("%", "%%") if name == dashed else argparse.SUPPRESS
        if hint is bool:
            group.add_argument(f"--{name}", action="store_true", help=listed, **common)
            group.add_argument(f"--no-{name}", action="store_false", help=argparse.SUPPRESS, **common)
        else:
            group.add_argument(f"--{name}", action=_Store, hint=hint, metavar=_metavar(hint), help=listed, **common)


def _own_field_docs(cls: type) -> dict[str, str]:
    """`field_docs` without the inherited fields."""
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):
        return {}
    # A class inside a function comes indented, and a docstring may forbid dedenting it.
    tree = ast.parse(f"if True:\n{source}" if source[0].isspace() else source)
    body = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)).body
    docs = {}
    for field, below in itertools.pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = " ".join(text.split())
    return docs


def _checked(hint: Any, value: Any, where: str) -> Any:
    """``value`` as ``hint`` wants it: lists become tuples, integers floats, mappings dataclasses."""
    classes = [arm for arm in _arms(hint) if isinstance(arm, type) and dataclasses.is_dataclass(arm)]
    if isinstance(value, Mapping) and len(classes) == 1:
        return from_dict(classes[0], value, where)
    for arm in _arms(hint):
        fits, found = _fit(arm, value, where)
        if fits:
            return found
    raise UserError(f"{where} must be {_described(hint)}, got {_shown(value)}")


def _fit(arm: Any, value: Any, where: str) -> tuple[bool, Any]:
    """Whether ``value`` belongs to one arm of a union, and its form there."""
    if get_origin(arm) is Literal:
        same = [option for option in get_args(arm) if option == value and type(option) is type(value)]
        return bool(same), value
    if get_origin(arm) is tuple:
        item, length = _items(arm)
        if not isinstance(value, (list, tuple)) or len(value) != (len(value) if length is None else length):
            return False, value
        return True, tuple(_checked(item, each, f"{where}[{index}]") for index, each in enumerate(value))
    if isinstance(value, bool) and arm is not bool:
        return False, value  # a bool is an int for Python, not for a reader
    if arm is float:
        return _is_finite(value), float(value) if _is_finite(value) else value
    return isinstance(value, arm), value


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def _parsed(hint: Any, text: str) -> Any:
    """The value a word of the command line stands for, or the word itself where it fits nowhere."""
    for arm in sorted(_arms(hint), key=lambda arm: arm is not type(None)):
        found = _parsed_arm(arm, text)
        if get_origin(arm) is tuple or _fit(arm, found, "")[0]:
            return found
    return text


def _parsed_arm(arm: Any, text: str) -> Any:
    """`_parsed` for one arm of a union."""
    if arm is int or arm is float:
        try:
            return arm(text)
        except ValueError:
            return text
    if get_origin(arm) is tuple:
        return [_parsed(_items(arm)[0], part.strip()) for part in text.split(",")] if text else []
    words: dict[str, Any] = {"true": True, "false": False} if arm is bool else {"none": None}
    if get_origin(arm) is Literal:
        words = {str(option): option for option in get_args(arm)}
    return text if arm is str else words.get(text, text)


def _plain(value: Any, where: str) -> Any:
    """A checked value in the types of JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value, where)
    return [_plain(each, where) for each in value] if isinstance(value, tuple) else value


def _arms(hint: Any) -> tuple[Any, ...]:
    """The members of a union; any other annotation is a union of itself."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _items(hint: Any) -> tuple[Any, int | None]:
    """What a tuple holds, and how many of it: None is any number."""
    items = get_args(hint)
    return items[0], None if items[-1] is ... else len(items)


def _described(hint: Any) -> str:
    """What an annotation allows, in words."""
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        item, length = _items(hint)
        return f"a list{'' if length is None else f' of {length}'}, each item {_described(item)}"
    if dataclasses.is_dataclass(hint):
        return f"a mapping with the keys {', '.join(_names(hint))}"
    arms = _arms(hint)
    return " or ".join(map(_described, arms)) if len(arms) > 1 else _SCALARS.get(hint, str(hint))


def _metavar(hint: Any) -> str:
    """What stands for the value in the help."""
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        item, length = _items(hint)
        return f"{_metavar(item)},..." if length is None else ",".join([_metavar(item)] * length)
    arms = _arms(hint)
    return "|".join(map(_metavar, arms)) if len(arms) > 1 else _METAVARS.get(hint, "VALUE")


def _names(cls: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.init]


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _shown(value: Any) -> str:
    """``repr`` on one line, cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
