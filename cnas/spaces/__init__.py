"""Search spaces: one folder each, found by name; the folder's package exposes one `SearchSpace` dataclass."""

from __future__ import annotations

from types import ModuleType

from cnas.registry import Registry, subclass_of
from cnas.spaces._language_model import LanguageModelSizes
from cnas.spaces.base import Decision, SearchSpace
from cnas.spaces.darts_rnn import DartsRnnSpace
from cnas.spaces.enas_rnn import EnasRnnSpace
from cnas.spaces.gpt import GptNetworkSizes, GptSpace
from cnas.spaces.nats import NatsNetworkSizes, NatsSpace
from cnas.spaces.supernet import SuperNet

__all__ = [
    "DartsRnnSpace",
    "Decision",
    "EnasRnnSpace",
    "GptNetworkSizes",
    "GptSpace",
    "LanguageModelSizes",
    "NatsNetworkSizes",
    "NatsSpace",
    "SearchSpace",
    "SuperNet",
    "names",
    "space_class",
]


def _offered(module: ModuleType) -> dict[str, type[SearchSpace]]:
    classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, SearchSpace)]
    return {space.name: space for space in classes if space.__module__.startswith(module.__name__)}


_SPACES = Registry("space", __name__, _offered, subclass_of(SearchSpace))


def names() -> list[str]:
    """The names of all spaces, sorted.

    Example:
        >>> "enas_rnn" in names()
        True
    """
    return _SPACES.names()


def space_class(name: str) -> type[SearchSpace]:
    """The class of the space called ``name``.

    Raises:
        UserError: there is none of that name; the message has those there are.
    """
    return _SPACES.find(name)
