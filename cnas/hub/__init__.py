"""The outputs of a run: a model that `transformers` can load, its tokenizer, its card, pictures; push to the Hub."""

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    "Card": "card",
    "build_tokenizer": "tokenizer",
    "draw_cell": "cell",
    "generate_lines": "model_folder",
    "push_run": "push",
    "register": "auto",
    "render_card": "card",
    "save_model": "model_folder",
    "save_network": "model_folder",
    "write_card": "artifacts",
    "write_gguf": "gguf_file",
    "write_remote_code": "remote_code",
}

__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for: `import cnas` needs ``auto`` alone, and no matplotlib."""
    if name in _PLACES:
        return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
