"""Configurations: frozen, nested dataclasses that become JSON and come back strictly; flags are in `cnas.runs.flags`.

Nothing here knows a concrete configuration. A field may be ``int``, ``float``, ``bool``, ``str``, ``Literal[...]``,
``tuple[X, ...]`` or, of fixed length, ``tuple[X, X]``, another dataclass, or a union of these with ``None``. Its help
text is the string literal below it. Every message names the dotted field (or the flag), the value and what is allowed,
in one line.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import inspect
import itertools
import math
import types
import typing
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Union, get_args, get_origin

from cnas.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["display", "field_docs", "from_dict", "to_dict"]

T = TypeVar("T", bound="DataclassInstance")

_KINDS = {
    int: ("INT", "an integer"),
    float: ("NUMBER", "a finite number"),
    bool: ("true|false", "true or false"),
    str: ("TEXT", "a text"),
    type(None): ("none", "none"),
}
"""What stands for a value in the help, and what it is called in a message."""
UNFIT = object()
_NOT_SAVED = ("flag", "saved")
"""In the metadata of fields that are not written to files: ``{"flag": False}`` is for Python alone."""


def to_dict(config: DataclassInstance, where: str = "") -> dict[str, Any]:
    """The configuration as JSON-able dicts, lists and scalars; `from_dict` reads it back.

    Args:
        config: any dataclass instance.
        where: dotted name of ``config`` itself, for messages.

    Raises:
        UserError: a field holds something its annotation does not allow, e.g. an infinite number.
    """
    hints = typing.get_type_hints(type(config))
    dotted = {name: dotted_name(where, name) for name in field_names(type(config))}
    return {name: _plain(checked(hints[name], getattr(config, name), path), path) for name, path in dotted.items()}


def from_dict(cls: type[T], mapping: Mapping[str, Any], where: str = "", base: T | None = None) -> T:
    """The configuration that `to_dict` wrote; strict: every field is there, nothing else is, and the types fit.

    Args:
        cls: the dataclass to build.
        mapping: one entry per field; lists stand for tuples, integers may stand for floats.
        where: dotted name of ``mapping`` itself, for messages.
        base: has the values of fields that ``mapping`` leaves out; without it, none may be.

    Raises:
        UserError: an unknown key, a missing one or a value of the wrong type; and what ``cls`` itself raises.
    """
    names, hints = field_names(cls), typing.get_type_hints(cls)
    if not isinstance(mapping, Mapping):
        raise UserError(f"{where or cls.__name__} must be {described(cls)}, got {display(mapping)}")
    for key in mapping:
        if key not in names:
            found = dotted_name(where, key if str(key).isprintable() else repr(key))
            raise UserError(
                f"{found} is not a field, got {display(mapping[key])}; allowed: {', '.join(names)}{nearest(key, names)}"
            )
    for name in names:
        if name not in mapping and base is None:
            raise UserError(f"{dotted_name(where, name)} is missing; it must be {described(hints[name])}")
    values = {name: checked(hints[name], mapping[name], dotted_name(where, name)) for name in names if name in mapping}
    return cls(**values) if base is None else dataclasses.replace(base, **values)


def check_fields(config: DataclassInstance, where: str = "") -> None:
    """Raise a `UserError` where a field of a frozen dataclass does not hold what its annotation says.

    Lists become tuples and integers floats, where these are meant.
    """
    hints = typing.get_type_hints(type(config))
    for name in flag_names(type(config)):
        object.__setattr__(config, name, checked(hints[name], getattr(config, name), dotted_name(where, name)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemembersGiven:
    """Base of arguments that know which of them somebody chose; others are open to what was published for a space."""

    given: frozenset[str] | None = dataclasses.field(default=None, repr=False, compare=False, metadata={"flag": False})
    """The fields that somebody chose. Filled in by itself."""

    def __new__(cls, **given: Any) -> Self:
        """Remember the names."""
        self, chosen = super().__new__(cls), given.get("given")
        # `dataclasses.replace` passes all fields on, among them `given`: new is then what no default is.
        every = dataclasses.fields(cls)
        new = given if chosen is None else [each.name for each in every if given[each.name] != _default(each)]
        object.__setattr__(self, "_chosen", (frozenset(new) | (chosen or frozenset())) - {"given"})
        return self

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", self._chosen)  # type: ignore[attr-defined]
        check_fields(self)


def _default(known: dataclasses.Field[Any]) -> Any:
    return known.default if known.default_factory is dataclasses.MISSING else known.default_factory()


@functools.cache
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


def nearest(name: Any, known: Iterable[str]) -> str:
    """The end of a message about a name that there is none of: the most similar one, if any is similar.

    Example:
        >>> nearest("learning-rate", ["learning_rate", "seed"])
        '; did you mean learning_rate?'
    """
    close = difflib.get_close_matches(str(name)[:60], known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def checked(hint: Any, value: Any, where: str) -> Any:
    """``value`` as ``hint`` wants it: lists become tuples, integers floats, mappings dataclasses."""
    fits = (fit(arm, value, where) for arm in union_members(hint))
    found = next((each for each in fits if each is not UNFIT), UNFIT)
    if found is UNFIT:
        raise UserError(f"{where} must be {described(hint)}, got {display(value)}")
    return found


def fit(arm: Any, value: Any, where: str) -> Any:
    """``value`` in the form it has in one arm of a union, or `UNFIT`."""
    if get_origin(arm) is Literal:
        same = any(option == value and type(option) is type(value) for option in get_args(arm))
        return value if same else UNFIT
    if get_origin(arm) is tuple:
        item, length = tuple_items(arm)
        fits = isinstance(value, (list, tuple)) and length in {None, len(value)}
        return tuple(checked(item, each, f"{where}[{i}]") for i, each in enumerate(value)) if fits else UNFIT
    if isinstance(value, Mapping) and dataclasses.is_dataclass(arm):
        return from_dict(arm, value, where)  # type: ignore[arg-type]
    if isinstance(value, bool) and arm is not bool:
        return UNFIT  # a bool is an int for Python, not for a reader
    if arm is float:
        return float(value) if _is_finite(value) else UNFIT
    return value if isinstance(value, arm) else UNFIT


def _is_finite(value: Any) -> bool:
    with suppress(OverflowError):  # an integer beyond the largest float
        return isinstance(value, (int, float)) and math.isfinite(value)
    return False


def _plain(value: Any, where: str) -> Any:
    """A checked value in the types of JSON."""
    if is_config(value):
        return to_dict(value, where)
    return [_plain(each, where) for each in value] if isinstance(value, tuple) else value


def is_config(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def union_members(hint: Any) -> tuple[Any, ...]:
    """The members of a union; any other annotation is a union of itself."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def tuple_items(hint: Any) -> tuple[Any, int | None]:
    """What a tuple holds, and how many of it: None is any number."""
    items = get_args(hint)
    return items[0], None if items[-1] is ... else len(items)


def described(hint: Any, brief: bool = False) -> str:
    """What is allowed, as a message says it or, in brief, as the help shows it."""
    if len(arms := union_members(hint)) > 1:
        return ("|" if brief else " or ").join(described(arm, brief) for arm in arms)
    if get_origin(hint) is Literal:
        options = [str(option) for option in get_args(hint)]
        return "|".join(options) if brief else f"one of {', '.join(options)}"
    if get_origin(hint) is tuple:
        item, length = tuple_items(hint)
        if brief:
            return f"{described(item, brief)},..." if length is None else ",".join([described(item, brief)] * length)
        return f"a list{'' if length is None else f' of {length}'}, each item {described(item)}"
    if dataclasses.is_dataclass(hint):
        return f"a mapping with the keys {', '.join(field_names(hint))}"
    return _KINDS[hint][not brief] if hint in _KINDS else f"a {getattr(hint, '__name__', hint)}"


def field_names(cls: Any) -> list[str]:
    """The fields that are written to files."""
    return [each.name for each in dataclasses.fields(cls) if each.init and each.metadata.keys().isdisjoint(_NOT_SAVED)]


def flag_names(cls: Any) -> list[str]:
    """The fields that have flags: those that are saved, and those of one start only (``metadata={"saved": False}``)."""
    return [each.name for each in dataclasses.fields(cls) if each.init and "flag" not in each.metadata]


def dotted_name(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
