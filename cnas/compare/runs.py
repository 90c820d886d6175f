"""A finished run as a comparison sees it: what its folder says, checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnas.errors import UserError
from cnas.run_folder import RunFolder

_NUMBERS = ("retrain.valid_perplexity", "retrain.test_perplexity", "retrain.seconds", "retrain.parameters")
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
    def valid(self) -> float:
        """Perplexity per word on the validation text."""
        return float(self.result["retrain"]["valid_perplexity"])

    @property
    def test(self) -> float:
        """Perplexity per word on the test text."""
        return float(self.result["retrain"]["test_perplexity"])

    @property
    def parameters(self) -> int:
        """Of the trained network."""
        return int(self.result["retrain"]["parameters"])

    @property
    def search_seconds(self) -> float | None:
        """Wall-clock time of the search; None where there was none."""
        return float(self.result["search"]["seconds"]) if self.searched else None

    @property
    def training_seconds(self) -> float:
        """Wall-clock time of the training of the cell."""
        return float(self.result["retrain"]["seconds"])


def load_run(folder: Path | str) -> FinishedRun:
    """Read what a finished run has left.

    Raises:
        UserError: there is no such folder, the run is not finished, or its files lack something; the message names it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"run {path} is no folder; name the folder of a finished run")
    config, result = (_read(path, name) for name in ("config.json", "result.json"))
    if config is None:
        raise UserError(f"run {path} has no config.json, so it is not the folder of a run")
    if result is None:
        raise UserError(f"run {path} has no result.json, so it is not finished; go on with --resume")
    needed: dict[str, Callable[[Any], bool]] = {"seed": _is_count, "dataset.used": _is_sizes}
    needed |= dict.fromkeys(_NUMBERS, _is_number) | dict.fromkeys(_TEXTS, _is_text)
    if result.get("search"):
        needed |= {"search.seconds": _is_number, "algorithm": _is_text}
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


def _read(path: Path, name: str) -> dict[str, Any] | None:
    try:
        values = RunFolder(path).read_json(name)
    except OSError as problem:
        raise UserError(f"run {path}: {name} cannot be read: {problem.strerror}") from problem
    except RecursionError as problem:
        raise UserError(f"run {path}: {name} is nested too deeply") from problem
    if values is not None and not isinstance(values, dict):
        raise UserError(f"run {path}: {name} must hold an object")
    return values


def _at(values: Mapping[str, Any], dotted: str) -> Any:
    found: Any = values
    for key in dotted.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_sizes(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_count(size) for size in value.values())
