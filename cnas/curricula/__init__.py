"""Curricula, found by name: each module has classes that say how much every unit of training data counts.

A new curriculum is a new file here, or an entry point ``cnas.curricula`` of another distribution.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from cnas.curricula.base import Curriculum, DatasetInfo, Progress, normalized_weights, traced_units
from cnas.curricula.competence import Competence
from cnas.curricula.disagreement import Disagreement
from cnas.curricula.loss import Loss
from cnas.curricula.permuted import Permuted
from cnas.curricula.self_paced import SelfPaced
from cnas.curricula.superloss import SuperLoss
from cnas.curricula.uncertainty import CURRICULUM_NAS, Uncertainty, uncertainty
from cnas.registry import Registry, subclass_of

__all__ = [
    "CURRICULUM_NAS",
    "Competence",
    "Curriculum",
    "DatasetInfo",
    "Disagreement",
    "Loss",
    "Permuted",
    "Progress",
    "SelfPaced",
    "SuperLoss",
    "Uncertainty",
    "curriculum_class",
    "known_class",
    "like",
    "names",
    "normalized_weights",
    "traced_units",
    "uncertainty",
]


def _offered(module: ModuleType) -> dict[str, type[Curriculum]]:
    classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Curriculum)]
    return {found.name: found for found in classes if found.__module__ == module.__name__}


_CURRICULA = Registry("curriculum.name", __name__, _offered, subclass_of(Curriculum))


def names() -> list[str]:
    """The names of all curricula, sorted.

    Example:
        >>> "uncertainty" in names()
        True
    """
    return _CURRICULA.names()


def curriculum_class(name: str) -> type[Curriculum]:
    """The class of the curriculum called ``name``.

    Raises:
        UserError: there is none of that name; the message has those there are.
    """
    return _CURRICULA.find(name)


def like(curriculum: Curriculum, name: str) -> Curriculum:
    """The curriculum called ``name``, with the unit, refresh and candidates that ``curriculum`` has.

    Raises:
        UserError: there is none of that name.
    """
    kind = curriculum_class(name)
    if type(curriculum) is kind:
        return curriculum
    kept: dict[str, Any] = {name: getattr(curriculum, name) for name in ("refresh", "unit", "every")}
    if kind.min_candidates:
        kept["source"] = curriculum.source
    if 0 < kind.min_candidates <= curriculum.num_candidates:
        kept["num_candidates"] = curriculum.num_candidates
    return kind(**kept)


def known_class(name: str | None) -> type[Curriculum] | None:
    """The class of the curriculum called ``name``; None where it is not installed here.

    Args:
        name: as ``result.json`` has it.
    """
    return curriculum_class(name) if name in names() else None
