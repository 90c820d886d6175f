"""Finding classes by name: the modules of a package are scanned, so a new file is all that an addition needs."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Generic, TypeVar

from cnas.errors import UserError

T = TypeVar("T")


def _table(module: ModuleType) -> Mapping[str, T]:
    found: Mapping[str, T] = getattr(module, "NAMES", {})
    return found


class Registry(Generic[T]):
    """The algorithms, spaces or scores there are, by name; nothing is imported before somebody asks.

    Args:
        kind: what one of them is called in messages, e.g. ``"space"``.
        package: whose modules offer them, e.g. ``"cnas.spaces"``; `base` and those with an underscore offer nothing.
        offers: what a module offers, by name; its table ``NAMES`` where this is left out.
    """

    def __init__(self, kind: str, package: str, offers: Callable[[ModuleType], Mapping[str, T]] = _table) -> None:
        self.kind, self.package, self.offers = kind, package, offers

    def modules(self) -> Iterator[ModuleType]:
        """The modules that may offer something."""
        for found in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
            if found.name != "base" and not found.name.startswith("_"):
                yield importlib.import_module(f"{self.package}.{found.name}")

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._found())

    def find(self, name: str) -> T:
        """What is called ``name``.

        Raises:
            UserError: nothing is; the message has all names, and the nearest one.
        """
        found = self._found()
        if name in found:
            return found[name]
        near = difflib.get_close_matches(name[:60], found, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{self.kind} must be one of {', '.join(sorted(found))}, got {name[:60]!r}{hint}")

    def _found(self) -> dict[str, T]:
        return {name: value for module in self.modules() for name, value in self.offers(module).items()}
