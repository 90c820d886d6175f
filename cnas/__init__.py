"""cnas: curriculum neural architecture search, for language models first.

Importing this package registers the networks it derives with transformers' Auto classes, so that
``AutoModelForCausalLM.from_pretrained(run / "model")`` works. Accelerate and datasets load when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from cnas.errors import CnasError
from cnas.hub.auto import register
from cnas.types import Architecture, Batch, Output, Routing, SearchResult

__version__ = "0.1.0"

_LAZY = {
    "CurriculumTrainer": "cnas.training",
    "Retrainer": "cnas.training",
    "RunConfig": "cnas.runs.config",
    "load_text": "cnas.data",
}

__all__ = [
    "Architecture",
    "Batch",
    "CnasError",
    "CurriculumTrainer",
    "Output",
    "Retrainer",
    "Routing",
    "RunConfig",
    "SearchResult",
    "load_text",
]


def __getattr__(name: str) -> Any:
    """The public names that need Accelerate or datasets, imported when first asked for."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


register()
