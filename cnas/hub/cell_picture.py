"""Draws a cell as a picture for the model card: the very one that the report shows."""

from __future__ import annotations

from pathlib import Path

from cnas.reports.drawing import style
from cnas.reports.cell_graph import draw_architecture
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture


def save_cell_picture(space: SearchSpace, architecture: Architecture, folder: Path) -> str:
    """Write ``cell.svg`` and ``cell.png``; equal cells give equal files.

    Args:
        space: the space of the architecture.
        architecture: one (edge, operation) pair per decision of ``space``.
        folder: where they go; made if it is not there.

    Returns:
        What the picture shows, in words.

    Raises:
        OSError: the disk refuses.
    """
    with style():
        drawing = draw_architecture(space, architecture)
    folder.mkdir(parents=True, exist_ok=True)
    drawing.save(folder, "cell")
    return f"{drawing.alternative} {drawing.caption}".strip()
