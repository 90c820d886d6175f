"""Everything a finished run leaves beside its checkpoints: model, cell, generated lines, figures, card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnas.export.card import render_card
from cnas.export.cell import draw_cell
from cnas.export.figures import draw_figures
from cnas.export.model import generate_lines, save_model
from cnas.spaces.base import SearchSpace
from cnas.types import Paper

LINES = 3
"""Generated lines kept as an impression of the model."""


def export_run(
    folder: Path, result: Mapping[str, Any], network: Any, words: Sequence[str], *, space: SearchSpace, paper: Paper
) -> None:
    """Write ``model/``, ``cell.txt``, ``samples.txt``, ``figures/`` and ``README.md`` into a run folder.

    Args:
        folder: of the run.
        result: what ``result.json`` will hold.
        network: the trained network with its best weights.
        words: the vocabulary in the order of the ids.
        space: the architecture's space.
        paper: of the search algorithm; the card cites it.
    """
    drawing = draw_cell(space, space.parse(result["architecture"]["string"]))
    save_model(network, words, folder / "model")
    samples = generate_lines(folder / "model", LINES, int(result["seed"]))
    log = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []
    draw_figures(rows, folder / "figures")
    card = render_card(dict(result), drawing=drawing, samples=samples, model_name=folder.resolve().name, papers=[paper])
    for name, text in (("cell.txt", drawing), ("samples.txt", "\n".join(samples)), ("README.md", card)):
        (folder / name).write_text(text.rstrip("\n") + "\n", "utf-8")


def summary(folder: Path, result: Mapping[str, Any]) -> str:
    """What a person wants to see at the end of a run: the cell, its perplexities, three lines, where the card is."""
    figures, curriculum = result["retrain"], result["curriculum"]
    title = f"curriculum of {curriculum['k']} subnets" if curriculum else "no curriculum"
    how = f"{result['algorithm']} on {result['dataset']['name']}, {title}" if result["search"] else "given cell"
    return "\n".join(
        [
            f"{how}: {result['architecture']['string']}",
            (folder / "cell.txt").read_text("utf-8").rstrip("\n"),
            f"perplexity  valid {figures['valid_perplexity']:.2f}  test {figures['test_perplexity']:.2f}",
            *(f"  {line}" for line in (folder / "samples.txt").read_text("utf-8").splitlines()),
            f"model card  {folder / 'README.md'}",
        ]
    )
