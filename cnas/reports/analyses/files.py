"""The files of an analysis: its numbers as JSON, its figure as PNG and SVG."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from cnas.durable import storage_errors
from cnas.reports.drawing import Drawing


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
    plain = [dataclasses.asdict(each) for each in values] if isinstance(values, list) else dataclasses.asdict(values)
    numbers = folder / f"{drawing.name}.json"
    with storage_errors(f"the analysis to {folder}"):
        drawing.save(folder, drawing.name)
        numbers.write_text(f"{json.dumps(plain, indent=2, ensure_ascii=False)}\n", "utf-8")
    return [numbers, *(folder / f"{drawing.name}.{kind}" for kind in ("png", "svg"))]
