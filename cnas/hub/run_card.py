"""The model card of a finished run, written anew from its folder, also with the results of further seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cnas.errors import StorageError, UserError
from cnas.hub._reading import reading
from cnas.hub.artifacts import describe_run
from cnas.hub.model_kind import kind_of
from cnas.reports.comparison import group_runs, load_runs
from cnas.runs.config import RunConfig
from cnas.runs.folder import RunFolder
from cnas.runs.links import refuse_links


def write_card(run: Path | str, seeds: Sequence[Path | str] = (), licence: str = "") -> Path:
    """Write ``README.md``, ``.eval_results/``, ``cell.txt`` and ``figures/`` of a finished run anew.

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
    with reading(folder):
        _write(folder, _further(run, seeds) if seeds else [], licence)
    return folder / "README.md"


def _write(folder: Path, others: Sequence[dict[str, object]], licence: str) -> None:
    home = RunFolder(folder)
    result, values = home.read_json("result.json"), home.read_json("config.json")
    if not result or not values:
        raise UserError(f"run must be the folder of a finished run, got {str(folder)!r}, which lacks one of its files")
    config = RunConfig.from_json(values)
    paper = config.search.build(config.space, config.options.seed).paper
    try:
        describe_run(
            folder, result, space=config.space, paper=paper, kind=kind_of(result), others=others, licence=licence
        )
    except OSError as problem:
        raise StorageError(f"cannot write the card to {folder}: {problem.strerror}") from problem


def _further(run: Path | str, seeds: Sequence[Path | str]) -> list[dict[str, object]]:
    """The results of runs that are one experiment with ``run``."""
    runs = load_runs([run, *seeds])
    first, *rest = group_runs(runs)
    if rest:
        raise UserError(
            f"seeds must differ from {run} in the seed alone, got {rest[0].runs[0].folder}: {rest[0].label}"
        )
    return [other.result.to_json() for other in first.runs[1:]]
