"""Search algorithms, found by name: each module has ``NAMES``, the default configuration of every name it offers.

A new algorithm is a new file here; nothing else is edited.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from cnas.algorithms._candidates import k_best as k_best
from cnas.errors import UserError


def names() -> list[str]:
    """The names of all algorithms, sorted.

    Example:
        >>> "enas" in names()
        True
    """
    return sorted(name for module in _modules() for name in module.NAMES)


def default_config(name: str) -> Any:
    """The default configuration of an algorithm; its ``build(space, seed)`` makes the algorithm.

    Raises:
        UserError: naming the algorithms there are.

    Example:
        >>> default_config("enas").controller_size
        64
    """
    for module in _modules():
        if name in module.NAMES:
            return module.NAMES[name]
    raise UserError(f"algorithm is {name!r}; allowed: {', '.join(names())}")


def _modules() -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(__path__):
        if found.name != "base" and not found.name.startswith("_"):
            yield importlib.import_module(f"{__name__}.{found.name}")


def __getattr__(name: str) -> Any:
    """The algorithm classes, e.g. ``ENAS``, imported when first asked for."""
    if name[:1].isupper():
        for module in _modules():
            value = vars(module).get(name)
            if getattr(value, "__module__", None) == module.__name__:
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
