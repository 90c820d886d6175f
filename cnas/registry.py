"""Finding classes by name: the modules of a package are scanned, and entry points of other distributions looked up.

A new file in the package is all that an addition needs. One from outside is an entry point of the group that is called
like the package, e.g. ``cnas.curricula``: its name is the name, its value the class. Nothing of it is imported before
somebody asks for that name.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from types import ModuleType
from typing import Any, Generic, TypeVar

from cnas.errors import UserError
from cnas.fields import nearest

T = TypeVar("T")


def _table(module: ModuleType) -> Mapping[str, T]:
    found: Mapping[str, T] = getattr(module, "NAMES", {})
    return found


class Registry(Generic[T]):
    """The algorithms, spaces or curricula there are, by name; nothing is imported before somebody asks.

    Args:
        kind: what one of them is called in messages, e.g. ``"space"``.
        package: whose modules offer them, e.g. ``"cnas.spaces"``; `base` and those with an underscore offer nothing.
        offers: what a module offers, by name; its table ``NAMES`` where this is left out.
        plugged: what an entry point offers, of the class that it names; the class where this is left out. It raises
            whatever it likes for a class that is none of the kind.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        offers: Callable[[ModuleType], Mapping[str, T]] = _table,
        plugged: Callable[[Any], T] = lambda found: found,
    ) -> None:
        self.kind, self.package, self.offers, self.plugged = kind, package, offers, plugged

    def modules(self) -> Iterator[ModuleType]:
        """The modules that may offer something."""
        for found in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
            if found.name != "base" and not found.name.startswith("_"):
                yield importlib.import_module(f"{self.package}.{found.name}")

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self._found(), *plugins(self.package).names})

    def find(self, name: str) -> T:
        """What is called ``name``.

        Raises:
            UserError: nothing is (the message has all names, and the nearest one), more than one thing is, or what a
                distribution offers cannot be used.
        """
        found, plugged = self._found(), [*plugins(self.package).select(name=name)]
        if len(plugged) + (name in found) > 1:
            owners = [*(["cnas"] if name in found else []), *map(_distribution, plugged)]
            raise UserError(f"{self.kind} {name!r} is offered more than once, by {' and '.join(owners)}; uninstall one")
        if plugged:
            return self._load(plugged[0])
        if name in found:
            return found[name]
        known = self.names()
        raise UserError(f"{self.kind} must be one of {', '.join(known)}, got {name[:60]!r}{nearest(name, known)}")

    def _load(self, plugin: EntryPoint) -> T:
        whose = f"{self.kind} {plugin.name!r} of the distribution {_distribution(plugin)}"
        try:
            found = plugin.load()
            offered, its_name = self.plugged(found), found.name
        except Exception as problem:  # whatever its import raises
            what = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
            raise UserError(f"{whose} cannot be loaded: {what}") from problem
        if its_name != plugin.name:
            raise UserError(f"{whose} must have the name of its entry point, got {its_name!r:.60}")
        return offered

    def _found(self) -> dict[str, T]:
        return {name: value for module in self.modules() for name, value in self.offers(module).items()}


def plugins(group: str) -> EntryPoints:
    """The entry points of a group, of all distributions that are installed.

    Args:
        group: e.g. ``"cnas.algorithms"``.
    """
    return _plugins(group, tuple(sys.path))


@functools.lru_cache(maxsize=32)
def _plugins(group: str, path: tuple[str, ...]) -> EntryPoints:  # noqa: ARG001 - decides what is found
    """Reading them takes a file of every distribution, and a grid asks hundreds of times."""
    return entry_points(group=group)


def _distribution(plugin: EntryPoint) -> str:
    return plugin.dist.name if plugin.dist else "unknown"


def subclass_of(base: Any) -> Callable[[Any], Any]:
    """For ``plugged``: a class that is one of ``base``.

    Args:
        base: of all that a registry offers.
    """

    def check(found: Any) -> Any:
        if not (isinstance(found, type) and issubclass(found, base)):
            raise TypeError(f"{found!r:.60} is no subclass of {base.__module__}.{base.__name__}")
        return found

    return check
