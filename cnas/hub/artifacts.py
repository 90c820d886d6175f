"""Everything a finished run leaves beside its checkpoints: model, cell, generated lines, figures, card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnas.hub.auto import image_processor
from cnas.hub.card import Card, render_card
from cnas.hub.cell import draw_cell
from cnas.hub.cell_picture import save_cell_picture
from cnas.hub.figures import draw_figures
from cnas.hub.measures import measures
from cnas.hub.metadata import eval_results
from cnas.hub.model_folder import generate_lines, save_model, save_network
from cnas.hub.model_kind import IMAGE_CLASSIFIER, LANGUAGE_MODEL, ModelKind, kind_of
from cnas.spaces.base import SearchSpace
from cnas.types import Paper

LINES = 3
"""Generated lines kept as an impression of the model."""


@dataclass(frozen=True)
class ImageInputs:
    """What a classifier reads.

    Args:
        classes: their names, in the order of the labels.
        mean: of each channel, on pixels divided by 255.
        std: likewise.
        size: (rows, columns) of the images it was trained on.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]


def export_run(
    folder: Path, result: Mapping[str, Any], network: Any, words: Sequence[str], *, space: SearchSpace, paper: Paper
) -> None:
    """Write ``model/``, ``samples.txt`` and what `describe_run` writes into the folder of a language model's run.

    Args:
        folder: of the run.
        result: what ``result.json`` will hold.
        network: the trained network with its best weights.
        words: the vocabulary in the order of the ids.
        space: the architecture's space.
        paper: of the search algorithm; the card cites it.
    """
    save_model(network, words, folder / "model")
    samples = generate_lines(folder / "model", LINES, int(result["seed"]))
    _write(folder / "samples.txt", "\n".join(samples))
    describe_run(folder, result, space=space, paper=paper, kind=LANGUAGE_MODEL)


def export_classifier(
    folder: Path,
    result: Mapping[str, Any],
    network: Any | None,
    *,
    space: SearchSpace,
    paper: Paper,
    inputs: ImageInputs,
) -> None:
    """Write ``model/``, where something was trained, and what `describe_run` writes into an image classifier's run.

    Args:
        folder: of the run.
        result: what ``result.json`` will hold.
        network: the trained network with its best weights; None where none was trained.
        space: the architecture's space.
        paper: of the search algorithm; the card cites it.
        inputs: what the network reads, and what its answers are called.
    """
    if network is not None:
        network.config.id2label = dict(enumerate(inputs.classes))
        network.config.label2id = {name: index for index, name in enumerate(inputs.classes)}
        height, width = inputs.size
        processor = image_processor(type(network))(
            image_mean=inputs.mean, image_std=inputs.std, size={"height": height, "width": width}
        )
        save_network(network, processor, folder / "model")
    describe_run(folder, result, space=space, paper=paper, kind=IMAGE_CLASSIFIER)


def describe_run(
    folder: Path,
    result: Mapping[str, Any],
    *,
    space: SearchSpace,
    paper: Paper | None,
    kind: ModelKind,
    others: Sequence[Mapping[str, Any]] = (),
    licence: str = "",
) -> None:
    """Write ``cell.txt``, ``figures/``, ``README.md`` and ``.eval_results/`` into a run folder.

    Args:
        folder: of the run; its ``metrics.jsonl``, ``config.json`` and ``samples.txt`` are read where they are.
        result: what ``result.json`` holds, or will hold.
        space: the architecture's space.
        paper: of the search algorithm, cited where something was searched.
        kind: of the model.
        others: ``result.json`` of runs that differ in the seed alone.
        licence: of the weights, as the Hub calls it; empty where none was chosen.

    Raises:
        UserError: one of ``others`` is another experiment, or has a seed that is there already; ``licence`` is none.
        OSError: the disk refuses.
    """
    architecture = space.parse(result["architecture"]["string"])
    drawing = draw_cell(space, architecture)
    searched = {"Search algorithm": paper} if result.get("search") else {}
    card = Card(
        result=dict(result),
        model_name=folder.resolve().name,
        drawing=drawing,
        picture=save_cell_picture(space, architecture, folder / "figures"),
        kind=kind,
        config=json.loads(_read(folder / "config.json") or "{}"),
        others=others,
        samples=_read(folder / "samples.txt").splitlines(),
        papers={**searched, "Search space": space.paper},
        licence=licence,
    )
    draw_figures([json.loads(line) for line in _read(folder / "metrics.jsonl").splitlines()], folder / "figures")
    _write(folder / "cell.txt", drawing)
    _write(folder / "README.md", render_card(card))
    for name, text in eval_results(result, kind, others).items():
        _write(folder / ".eval_results" / name, text)


def _read(path: Path) -> str:
    """The text of a file; nothing where there is none."""
    return path.read_text("utf-8") if path.exists() else ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.rstrip("\n") + "\n", "utf-8")


def summary(folder: Path, result: Mapping[str, Any]) -> str:
    """What a person wants to see at the end of a run: the cell, its figures, three lines, where the card is."""
    curriculum = result["curriculum"]
    title = f"curriculum of {curriculum['k']} subnets" if curriculum else "no curriculum"
    how = f"{result['algorithm']} on {result['dataset']['name']}, {title}" if result["search"] else "given cell"
    return "\n".join(
        [
            f"{how}: {result['architecture']['string']}",
            (folder / "cell.txt").read_text("utf-8").rstrip("\n"),
            *_figures(result),
            *(f"  {line}" for line in _read(folder / "samples.txt").splitlines()),
            f"report      {folder / 'report.html'}",
            f"model card  {folder / 'README.md'}",
        ]
    )


def _figures(result: Mapping[str, Any]) -> list[str]:
    found: dict[str, list[str]] = {}
    for each in measures(result, kind_of(result).units):
        found.setdefault(each.name, []).append(f"{each.split.removesuffix('ation')} {each.value:.2f}")
    lines = ["  ".join([name, *values]) for name, values in found.items()]
    record = result.get("benchmark")
    if record:
        rank = "" if record["rank"] is None else f"  rank {record['rank']:,}  regret {record['regret']:.2f}"
        lines.append(f"in the table, on {record['dataset']}: test accuracy {record['test_accuracy']:.2f}{rank}")
    return lines
