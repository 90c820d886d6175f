"""Writes the outputs of a finished run: model, cell, generated lines, figures, card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnas.durable import storage_errors
from cnas.errors import UserError
from cnas.hub.auto import image_processor
from cnas.hub.card import Card, render_card
from cnas.hub.cell import draw_cell, save_pictures
from cnas.hub.metadata import eval_results, measured
from cnas.hub.model_folder import TokenSource, generate_lines, save_model, save_network
from cnas.hub.model_kind import IMAGE_CLASSIFIER, ModelKind, kind_of
from cnas.reports.comparison import group_runs, load_runs
from cnas.reports.sizes import has_sizes, sizes_table
from cnas.runs.config import RunConfig
from cnas.runs.folder import RunFolder, refuse_links
from cnas.runs.latency import read_latency
from cnas.runs.result import RunResult
from cnas.spaces import part_of
from cnas.spaces.base import SearchSpace
from cnas.types import Paper

LINES = 3
"""Generated lines kept as an impression of the model."""


def export_run(
    folder: Path, result: RunResult, network: Any | None, tokens: TokenSource, *, space: SearchSpace, paper: Paper
) -> None:
    """Write ``model/`` and ``samples.txt``, where something was trained, and what `describe_run` writes.

    Args:
        folder: of a language model's run.
        result: of the run, which is not saved yet.
        network: the trained network with its best weights; None where none was trained.
        tokens: the vocabulary in the order of the ids, or a fast tokenizer.
        space: the architecture's space.
        paper: of the search algorithm; the card cites it.
    """
    if network is not None:
        save_model(network, tokens, folder / "model")
        samples = generate_lines(folder / "model", LINES, result.seed)
        _write(folder / "samples.txt", "\n".join(samples))
    describe_run(folder, result, space=space, paper=paper, kind=kind_of(result))


def export_classifier(
    folder: Path,
    result: RunResult,
    network: Any | None,
    *,
    space: SearchSpace,
    paper: Paper,
    classes: Sequence[str],
    **inputs: Any,
) -> None:
    """Write ``model/``, where something was trained, and what `describe_run` writes into an image classifier's run.

    Args:
        folder: of the run.
        result: of the run, which is not saved yet.
        network: the trained network with its best weights; None where none was trained.
        space: the architecture's space.
        paper: of the search algorithm; the card cites it.
        classes: their names, in the order of the labels.
        inputs: arguments of its image processor: ``image_mean``, ``image_std`` and ``size``.
    """
    if network is not None:
        network.config.id2label = dict(enumerate(classes))
        network.config.label2id = {name: index for index, name in enumerate(classes)}
        save_network(network, image_processor(type(network))(**inputs), folder / "model")
    describe_run(folder, result, space=space, paper=paper, kind=IMAGE_CLASSIFIER)


def describe_run(
    folder: Path,
    result: RunResult,
    *,
    space: SearchSpace,
    paper: Paper | None,
    kind: ModelKind,
    others: Sequence[RunResult] = (),
    licence: str = "",
) -> None:
    """Write ``cell.txt``, pictures in ``figures/``, ``README.md`` and ``.eval_results/`` into a run folder.

    Args:
        folder: of the run; its ``config.json`` and ``samples.txt`` are read where they are.
        result: of the run, saved or not.
        space: the architecture's space.
        paper: of the search algorithm, cited where something was searched.
        kind: of the model.
        others: of runs that differ in the seed alone.
        licence: of the weights, as the Hub calls it; empty where none was chosen.

    Raises:
        UserError: one of ``others`` is another experiment, or has a seed that is there already; ``licence`` is none.
        OSError: the disk refuses.
    """
    architecture = space.parse(result.architecture.string)
    drawing = draw_cell(space, architecture)
    searched, config = {"Search algorithm": paper} if result.search else {}, RunFolder(folder).read_json("config.json")
    found, config = result.architecture, config or {}
    table = sizes_table(space, found.string, found.costs, result.search) if has_sizes(space) else None
    card = Card(
        result=result,
        model_name=folder.resolve().name,
        drawing=drawing,
        pictures=save_pictures(space, result, config, folder / "figures"),
        sizes=(table.columns, *table.rows) if table else (),
        setting=measured_with.setting if (measured_with := read_latency(folder)) else "",
        kind=kind,
        config=config,
        others=others,
        samples=_read(folder / "samples.txt").splitlines(),
        papers={**searched, "Search space": space.paper},
        licence=licence,
    )
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


def summary(folder: Path) -> str:
    """What a person wants to see at the end of a run: the cell, its figures, three lines, where the card is."""
    result = RunResult.load(folder)
    curriculum = result.curriculum
    title = curriculum.label if curriculum else "no curriculum"
    how = f"{result.algorithm} on {result.dataset.name}, {title}" if result.search else f"given {part_of(result.space)}"
    return "\n".join(
        [
            f"{how}: {result.architecture.string}",
            (folder / "cell.txt").read_text("utf-8").rstrip("\n"),
            *_figures(result),
            *(f"  {line}" for line in _read(folder / "samples.txt").splitlines()),
            f"report      {folder / 'report.html'}",
            f"model card  {folder / 'README.md'}",
        ]
    )


def _figures(result: RunResult) -> list[str]:
    metric, record = kind_of(result).metric, result.benchmark
    values = [f"{split.removesuffix('ation')} {value:.2f}" for split, value in measured(result, metric).items()]
    lines = ["  ".join([metric.name, *values])] if values else []
    if record:
        rank = "" if record.rank is None else f"  rank {record.rank:,}  regret {record.regret:.2f}"
        known = {"test accuracy": record.test_accuracy, "test perplexity": record.test_perplexity}
        figures = [f"{name} {value:.2f}" for name, value in known.items() if value is not None] or ["not there"]
        share = "" if record.percentile is None else f"  percentile {record.percentile:.2f}"
        lines.append(f"in the table, on {record.dataset}: {', '.join(figures)}{rank}{share}")
        if record.kendall_tau is not None:
            tau = f"{record.kendall_tau:.2f} on {record.ranked:,} {part_of(result.space)}s"
            lines.append(f"Kendall's τ of losses with shared weights: {tau}")
    return lines


def write_card(run: Path | str, seeds: Sequence[Path | str] = (), licence: str = "") -> Path:
    """Write ``README.md``, ``.eval_results/``, ``cell.txt`` and the picture of the cell of a finished run anew.

    The model, and the number that stands for it in the metadata, stay those of ``run``. With further seeds the card
    also has mean, sample standard deviation and how many they are.

    Args:
        run: folder of the run whose card it is.
        seeds: folders of finished runs that differ from it in the seed alone.
        licence: the Hub's identifier of the licence of the weights; empty leaves it ``unknown``.

    Returns:
        The path of the card.

    Raises:
        UserError: a folder is not that of a finished run, the runs differ in more than the seed, or not in it, or
            ``licence`` is no identifier.
        StorageError: the disk refuses.
    """
    folder = Path(run)
    refuse_links(folder)
    values = RunFolder(folder).read_json("config.json")
    result = RunResult.load_if_finished(folder)
    if not result or not values:
        raise UserError(f"run must be the folder of a finished run, got {str(folder)!r}, which lacks one of its files")
    others = _further(folder, seeds) if seeds else []
    config = RunConfig.from_json(values)
    paper = config.search.algorithm.paper
    with storage_errors(f"the card to {folder}"):
        describe_run(
            folder, result, space=config.space, paper=paper, kind=kind_of(result), others=others, licence=licence
        )
    return folder / "README.md"


def _further(run: Path, seeds: Sequence[Path | str]) -> list[RunResult]:
    """The results of runs that are one experiment with ``run``."""
    runs = load_runs([run, *seeds])
    _, *rest = group_runs(runs)
    if rest:
        raise UserError(
            f"seeds must differ from {run} in the seed alone, got {rest[0].runs[0].folder}: {rest[0].label}"
        )
    return [other.result for other in runs[1:]]
