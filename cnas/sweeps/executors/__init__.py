"""What runs the processes of a sweep, found by place: a module here is the executor of its name.

It has ``Settings``, see `cnas.sweeps.executors.base`. A new executor is a new file here; nothing else is edited.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from cnas.errors import UserError
from cnas.runs.fields import from_dict, to_dict
from cnas.sweeps.executors.base import Settings


def names() -> list[str]:
    """The names of all executors, sorted.

    Example:
        >>> names()
        ['local', 'ray', 'slurm']
    """
    found = [module.name for module in pkgutil.iter_modules(__path__)]
    return sorted(name for name in found if name != "base" and name[0] != "_")


def settings(name: str, given: Mapping[str, Any] | None = None) -> Settings:
    """The settings of an executor: its defaults, and over them what is given.

    Args:
        name: of the executor.
        given: fields by name.

    Raises:
        UserError: there is no such executor or field, or a value is not allowed; what there is, is named.

    Example:
        >>> settings("local", {"threads": 2}).threads
        2
    """
    if name not in names():
        raise UserError(f"executor must be one of {', '.join(names())}, got {name[:40]!r}")
    kind: Any = importlib.import_module(f"{__name__}.{name}").Settings
    if not isinstance(given, Mapping | None):
        raise UserError(f"{name} must be a mapping of settings, got {str(given)[:40]!r}")
    found: Settings = from_dict(kind, to_dict(kind()) | dict(given or {}), name)
    return found
