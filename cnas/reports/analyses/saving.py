"""An analysis on disk: its numbers beside its figure."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from cnas.errors import StorageError
from cnas.reports._drawing import Drawing


def save(values: Any, drawing: Drawing, folder: str | Path) -> list[Path]:
    """Write ``NAME.json``, ``NAME.png`` and ``NAME.svg``; NAME is the drawing's.

    Args:
        values: the dataclass that has been drawn, or a list of several.
        drawing: its figure.
        folder: where to; made if it is not there.

    Returns:
        The three files.

    Raises:
        StorageError: the disk refuses.
    """
    folder = Path(folder)
    numbers = folder / f"{drawing.name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        numbers.write_text(f"{json.dumps(_plain(values), indent=2, ensure_ascii=False)}\n", "utf-8")
        drawing.save(folder, drawing.name)
    except OSError as problem:
        raise StorageError(f"cannot write the analysis to {folder}: {problem.strerror}") from problem
    return [numbers, *(folder / f"{drawing.name}.{kind}" for kind in ("png", "svg"))]


def _plain(values: Any) -> Any:
    return [dataclasses.asdict(each) for each in values] if isinstance(values, list) else dataclasses.asdict(values)
