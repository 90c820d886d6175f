"""A finished run as a comparison sees it: what its folder says, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cnas.errors import UserError
from cnas.hub._finite import is_finite
from cnas.hub.procedure import part
from cnas.reports.comparison import measures
from cnas.reports.comparison.measures import Check, Measure, is_size, is_text
from cnas.runs.folder import RunFolder

_TEXTS = ("space", "dataset.fingerprint", "architecture.string")


@dataclass(frozen=True)
class FinishedRun:
    """One run that has been measured.

    Args:
        folder: of the run.
        config: what its ``config.json`` says.
        result: what its ``result.json`` says.
    """

    folder: Path
    config: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The last part of the folder."""
        return self.folder.resolve().name

    @property
    def seed(self) -> int:
        """Of every random draw."""
        return int(self.result["seed"])

    @property
    def space(self) -> str:
        """The name of the search space."""
        return str(self.result["space"])

    @property
    def architecture(self) -> str:
        """The string of the cell that was found or given."""
        return str(self.result["architecture"]["string"])

    @property
    def searched(self) -> bool:
        """Whether the cell was searched for; otherwise it was given."""
        return bool(self.result.get("search"))

    @property
    def curriculum(self) -> Mapping[str, Any] | None:
        """The settings of the curriculum; None where the data all weighed the same."""
        found: Mapping[str, Any] | None = self.result.get("curriculum") if self.searched else None
        return found

    @property
    def metric(self) -> str:
        """What networks of its kind are measured by, e.g. ``perplexity``."""
        return measures.metric(self.result)

    @cached_property
    def figures(self) -> dict[Measure, float]:
        """What was measured of it, and looked up."""
        return measures.figures(self.result)

    @property
    def primary_measures(self) -> list[Measure]:
        """By which of `figures` its cell is judged: the test of the trained network, a look-up, or both."""
        return measures.primary_measures(self.result)

    @property
    def benchmark_metrics(self) -> str | None:
        """On which data set in which table its cell was looked up; None where it was not."""
        table = part(self.result, "benchmark")
        return f"{table['dataset']} in {table['source']}" if table else None

    @property
    def parameters(self) -> int | None:
        """Of the trained network; None where none was trained."""
        return int(self.result["retrain"]["parameters"]) if part(self.result, "retrain") else None

    @property
    def search_seconds(self) -> float | None:
        """Wall-clock time of the search; None where there was none."""
        return float(self.result["search"]["seconds"]) if self.searched else None

    @property
    def training_seconds(self) -> float | None:
        """Wall-clock time of the training of the cell; None where it was not trained."""
        return float(self.result["retrain"]["seconds"]) if part(self.result, "retrain") else None


def load_run(folder: Path | str) -> FinishedRun:
    """Read what a finished run has left.

    Raises:
        UserError: there is no such folder, the run is not finished, or its files lack something; the message names it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"run {path} is no folder; name the folder of a finished run")
    config, result = (RunFolder(path).read_json(name) for name in ("config.json", "result.json"))
    if config is None:
        raise UserError(f"run {path} has no config.json, so it is not the folder of a run")
    if result is None:
        raise UserError(f"run {path} has no result.json, so it is not finished; go on with --resume")
    if result.get("retrain") is None and result.get("benchmark") is None:
        raise UserError(
            f"run {path}: result.json has neither retrain nor benchmark: nothing says what its cell is worth"
        )
    needed: dict[str, Check] = {"seed": _is_count, "dataset.used": _is_sizes} | dict.fromkeys(_TEXTS, is_text)
    needed |= measures.needed(result)
    if result.get("search"):
        needed |= {"search.seconds": is_size, "algorithm": is_text, "curriculum": _is_settings}
    for name, fits in needed.items():
        found = _at(result, name)
        if not fits(found):
            what = "lacks" if found is None else f"has an unusable value {str(found)[:40]!r} for"
            raise UserError(f"run {path}: result.json {what} {name}")
    return FinishedRun(path, config, result)


def load_runs(folders: Iterable[Path | str]) -> list[FinishedRun]:
    """`load_run` of each folder.

    Raises:
        UserError: what `load_run` raises, or a folder is named twice.
    """
    found: dict[Path, FinishedRun] = {}
    for folder in folders:
        place = Path(folder).resolve()
        if place in found:
            raise UserError(f"run {folder} is named twice")
        found[place] = load_run(folder)
    return list(found.values())


def _at(values: Mapping[str, Any], dotted: str) -> Any:
    found: Any = values
    for key in dotted.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and is_finite(value)


def _is_settings(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _is_sizes(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_count(size) for size in value.values())
