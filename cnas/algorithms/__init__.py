"""Search algorithms, found by name: each module has ``NAMES``, the default configuration of every name it offers.

A new algorithm is a new file here, or an entry point ``cnas.algorithms`` of another distribution.
"""

from __future__ import annotations

from typing import Any

from cnas.algorithms._candidates import k_best as k_best
from cnas.algorithms.base import AlgorithmConfig, SearchAlgorithm
from cnas.registry import Registry, subclass_of


def _plugged(found: Any) -> Any:
    return subclass_of(AlgorithmConfig)(subclass_of(SearchAlgorithm)(found).Config)()


_ALGORITHMS: Registry[Any] = Registry("algorithm", __name__, plugged=_plugged)


def names() -> list[str]:
    """The names of all algorithms, sorted.

    Example:
        >>> "enas" in names()
        True
    """
    return _ALGORITHMS.names()


def default_config(name: str) -> Any:
    """The default configuration of an algorithm; its ``build(space, seed)`` makes the algorithm.

    Raises:
        UserError: there is none of that name; the message has those there are.

    Example:
        >>> default_config("enas").controller_size
        64
    """
    return _ALGORITHMS.find(name)


def __getattr__(name: str) -> Any:
    """The algorithm classes, e.g. ``ENAS``, imported when first asked for."""
    for module in _ALGORITHMS.modules() if name[:1].isupper() else ():
        value = vars(module).get(name)
        if getattr(value, "__module__", None) == module.__name__:
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
