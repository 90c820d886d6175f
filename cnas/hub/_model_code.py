"""Which Python files belong to a saved model: those that `transformers` runs when it loads one with its own code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME

_SIBLING = re.compile(r"^\s*from\s+\.(\w+)\s+import\b", re.MULTILINE)


def model_code(folder: Path) -> set[str]:
    """The names of the files that ``auto_map`` names, and of all that they import from beside them.

    Args:
        folder: what `save_network` has written; one without ``auto_map`` has no code.
    """
    waiting, found = [name for config in (CONFIG_NAME, IMAGE_PROCESSOR_NAME) for name in _named(folder / config)], set()
    while waiting:
        name = waiting.pop()
        if name not in found and (folder / name).is_file():
            found.add(name)
            waiting += [f"{sibling}.py" for sibling in _SIBLING.findall((folder / name).read_text("utf-8", "replace"))]
    return found


def _named(config: Path) -> Iterator[str]:
    """The files in ``auto_map``, which has ``file.Class`` for every Auto class, or for each of its backends."""
    try:
        places = json.loads(config.read_text("utf-8"))["auto_map"].values()
    except (OSError, ValueError, LookupError, RecursionError, TypeError, AttributeError):
        return
    for place in places:
        for path in place.values() if isinstance(place, dict) else [place]:
            yield f"{str(path).partition('.')[0]}.py"
