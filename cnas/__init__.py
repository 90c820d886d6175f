"""cnas: curriculum neural architecture search, for language models first.

After ``import cnas`` the Auto classes of `transformers` know the networks it derives, so that
``AutoModelForCausalLM.from_pretrained(run / "model")`` works. Nothing else is loaded before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cnas.errors import CnasError
from cnas.hub.auto_hook import register_when_imported

if TYPE_CHECKING:
    from cnas.data import load_text
    from cnas.runs.config import RunConfig
    from cnas.trainer import CurriculumTrainer
    from cnas.training import RetrainArguments, Retrainer, SearchArguments
    from cnas.types import Architecture, Batch, Output, Routing, SearchResult

__version__ = "0.2.0"

__all__ = [
    "Architecture",
    "Batch",
    "CnasError",
    "CurriculumTrainer",
    "Output",
    "RetrainArguments",
    "Retrainer",
    "Routing",
    "RunConfig",
    "SearchArguments",
    "SearchResult",
    "load_text",
]

_PLACES = {
    "RetrainArguments": "cnas.training",
    "SearchArguments": "cnas.training",
    "Retrainer": "cnas.training",
    "CurriculumTrainer": "cnas.trainer",
    "RunConfig": "cnas.runs.config",
    "load_text": "cnas.data",
} | dict.fromkeys(("Architecture", "Batch", "Output", "Routing", "SearchResult"), "cnas.types")
"""Where the public names are that need torch, or more."""


def __getattr__(name: str) -> Any:
    """A public name, imported when first asked for."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


register_when_imported()
