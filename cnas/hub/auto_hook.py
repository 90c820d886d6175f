"""Registers our networks with the Auto classes of `transformers` when these are imported, and not before.

`import cnas` takes no time this way. The Auto classes are mostly imported by a module of `transformers` that is itself
half executed (`modeling_utils` imports ``configuration_auto``), where the classes we need are not there yet. So the
hook waits until the outermost import of a module of `transformers`, or of our own, is complete.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

AWAITED = "transformers.models.auto.configuration_auto"
"""Every other module with Auto classes imports this one."""


def register_when_imported() -> None:
    """Call `cnas.hub.auto.register` as soon as the Auto classes are there: now, or after the import that loads them.

    Nothing that is looked up in an Auto class comes before it: no import that gives one has returned by then.
    """
    if AWAITED in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterImport())


def _register() -> None:
    from cnas.hub.auto import register

    register()


class _AfterImport(MetaPathFinder):
    """Finds nothing itself; runs `_register` after the import that has loaded `AWAITED`, and is gone."""

    def __init__(self) -> None:
        self.importing = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other finders find, with a loader that says when it is done; None for an import within another."""
        if self.importing or name.partition(".")[0] not in {"cnas", "transformers"}:
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec

    def imported(self) -> None:
        """Register, if the Auto classes are there by now."""
        if AWAITED in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            _register()


class _Loader(Loader):
    """Loads one module as another loader does, which may be that of many; tells a hook when it is complete."""

    def __init__(self, loader: Any, hook: _AfterImport) -> None:
        self.loader, self.hook = loader, hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The module, or None for an ordinary one."""
        found: ModuleType | None = self.loader.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module; what it imports meanwhile is part of it."""
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        self.hook.importing = True
        try:
            self.loader.exec_module(module)
        finally:
            self.hook.importing = False
        parent, _, name = module.__name__.rpartition(".")
        if parent:
            # Python sets it after this, and `_register` may look for it.
            setattr(sys.modules[parent], name, sys.modules[module.__name__])
        self.hook.imported()
