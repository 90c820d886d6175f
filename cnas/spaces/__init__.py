"""Search spaces: one folder each, found by name; the folder's package exposes one `SearchSpace` dataclass."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from cnas.errors import UserError
from cnas.spaces._language_model import LanguageModelSizes
from cnas.spaces.base import Decision, SearchSpace, SuperNet
from cnas.spaces.darts_rnn import DartsRnnSpace
from cnas.spaces.enas_rnn import EnasRnnSpace
from cnas.spaces.nats import NatsNetworkSizes, NatsSpace

__all__ = [
    "DartsRnnSpace",
    "Decision",
    "EnasRnnSpace",
    "LanguageModelSizes",
    "NatsNetworkSizes",
    "NatsSpace",
    "SearchSpace",
    "SuperNet",
    "names",
    "space_class",
]


def names() -> list[str]:
    """The names of all spaces; a new folder is listed without being imported.

    Example:
        >>> "enas_rnn" in names()
        True
    """
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def space_class(name: str) -> type[SearchSpace]:
    """The class of the space called ``name``.

    Raises:
        UserError: where there is none.
    """
    if name not in names():
        raise UserError(f"space must be one of {', '.join(names())}, got {name!r}")
    module = importlib.import_module(f"{__name__}.{name}")
    found = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, SearchSpace)]
    (space,) = [value for value in found if getattr(value, "name", None) == name]
    return space
