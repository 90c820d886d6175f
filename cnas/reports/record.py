"""A run folder as the report sees it: what its files say, and nothing that has to be computed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cnas.errors import UserError
from cnas.hub._finite import is_finite
from cnas.hub._markdown import name
from cnas.runs.fields import from_dict, to_dict
from cnas.spaces import space_class
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

Row = dict[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """What one run folder holds.

    Args:
        path: the folder.
        config: ``config.json``; empty where there is none.
        rows: ``metrics.jsonl``, one dict per epoch.
        search: ``search.json``; empty while the search is not over.
        result: ``result.json``; empty while the run is not over.
    """

    path: Path
    config: Row
    rows: list[Row] = field(default_factory=list)
    search: Row = field(default_factory=dict)
    result: Row = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The folder's own name, without the folders above it."""
        return name(self.path.resolve().name)

    @property
    def finished(self) -> bool:
        """Whether everything is measured."""
        return bool(self.result)

    def phase(self, phase: str) -> list[Row]:
        """The rows of ``search`` or ``retrain``."""
        return [row for row in self.rows if row.get("phase") == phase]

    @property
    def curriculum(self) -> Row:
        """The settings of the curriculum; empty where every sample weighs the same or nothing is searched."""
        found = part(self.result if self.finished else self.config, "curriculum")
        return found if number(found.get("k", 1)) and not self.config.get("architecture") else {}

    @property
    def variant(self) -> str:
        """What distinguishes runs of one comparison, in words that hold nothing from outside."""
        if self.config.get("architecture") or (self.finished and not self.result.get("search")):
            return "given cell"
        if not self.curriculum:
            return "plain"
        k = number(self.curriculum.get("k"))
        return "curriculum" if k is None else f"curriculum, K = {k:.0f}"

    @property
    def seed(self) -> Any:
        """Of every random draw."""
        return self.result.get("seed", self.config.get("seed", "unknown"))

    @property
    def algorithm(self) -> str:
        """The name of the search algorithm."""
        return name(self.result.get("algorithm") or part(self.config, "search").get("name") or "unnamed")

    @property
    def dataset(self) -> str:
        """The name of the data, without folders."""
        return name(part(self.result, "dataset").get("name") or self.config.get("data") or "unnamed")

    @cached_property
    def space(self) -> SearchSpace | None:
        """The search space with the sizes of the run; None where the folder does not say enough of it."""
        values = dict(part(self.config, "space"))
        name_of_space = values.pop("name", self.result.get("space"))
        try:
            found = space_class(str(name_of_space))
            # A folder of an earlier version says nothing of later fields.
            return from_dict(found, to_dict(found()) | values)  # type: ignore[type-var, arg-type] # spaces are dataclasses
        except ValueError:  # the folder is of another version, or says what no run does
            return None

    @property
    def notation(self) -> str:
        """The string of the architecture that was found or given; empty where there is none yet."""
        found = part(self.result, "architecture").get("string") or self.search.get("string")
        return str(found or self.config.get("architecture") or "")

    @property
    def architecture(self) -> Architecture | None:
        """The architecture that was found or given."""
        return self.parse(self.notation)

    def parse(self, text: Any) -> Architecture | None:
        """The architecture a string stands for; None where it is none of the space."""
        if self.space is None or not isinstance(text, str) or not text:
            return None
        try:
            return self.space.parse(text)
        except UserError:
            return None


def read_run(folder: Path) -> RunRecord:
    """What the files of a run folder say; a run that is still going on gives what there is so far.

    Raises:
        UserError: it is no run folder, or one of its files is not what a run writes; the message names it.
    """
    if not folder.is_dir():
        raise UserError(f"run {str(folder)[:80]!r} must be a folder that a run has written; there is none")
    config, result = _object(folder / "config.json"), _object(folder / "result.json")
    if not config and not result:
        raise UserError(f"run {str(folder)[:80]!r} has neither config.json nor result.json, so no run has written it")
    return RunRecord(folder, config, _rows(folder / "metrics.jsonl"), _object(folder / "search.json"), result)


def part(values: Mapping[str, Any], key: str) -> Row:
    """A nested mapping; empty where there is none."""
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def number(value: Any) -> float | None:
    """``value`` where it is a finite number, else None."""
    return value if is_finite(value) else None


def formatted(problem: Exception, records: Sequence[RunRecord]) -> str:
    """A message about some runs in one line without a full stop, with the last parts of folders alone."""
    text = str(problem)
    for record in records:
        for place in (str(record.path), str(record.config.get("data") or "")):
            # The regular expression of `name` ends a folder at a blank.
            text = text.replace(place, Path(place).name) if place else text
    return name(text).rstrip(".")


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise UserError(f"{path} cannot be read: {getattr(problem, 'strerror', None) or 'not UTF-8'}") from problem


def _object(path: Path) -> Row:
    text = _text(path)
    return {} if text is None else _parsed(text, str(path))


def _rows(path: Path) -> list[Row]:
    lines = (_text(path) or "").splitlines(keepends=True)
    # The last line of a run that is going on may have been caught half-way.
    whole = [line for line in lines if line.endswith("\n")]
    return [_parsed(line, f"{path}: line {count}") for count, line in enumerate(whole, 1)]


def _parsed(text: str, where: str) -> Row:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{where} must be a JSON object, got {' '.join(text.split())[:40]!r}")
    return found
