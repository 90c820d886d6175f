"""Reads a run folder for a report; computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from cnas.errors import UserError
from cnas.fields import from_dict, to_dict
from cnas.hub._markdown import name
from cnas.runs.earlier import by_new_names
from cnas.runs.folder import RunFolder
from cnas.runs.result import CurriculumSettings, Part, RunResult, SearchFigures
from cnas.spaces import part_of, space_class
from cnas.spaces.base import SearchSpace
from cnas.training import metrics_log
from cnas.types import Architecture

Row = dict[str, Any]


class KnownArguments(Part):
    """What a report reads of the section ``trainer``."""

    seed: int | None = None


class KnownConfig(Part):
    """What a report reads of ``config.json``, also of one by another version; other keys are kept."""

    space: dict[str, Any] = Field(default={})
    search: dict[str, Any] = Field(default={})
    curriculum: CurriculumSettings | None = None
    architecture: str | None = None
    data: str | None = None
    trainer: KnownArguments = KnownArguments()


@dataclass(frozen=True)
class RunRecord:
    """What one run folder holds.

    Args:
        path: the folder.
        config: ``config.json``; empty where there is none.
        rows: ``metrics.jsonl``, one dict per epoch.
        search: ``search.json``; empty while the search is not over.
        result: ``result.json``; None while the run is not over.
    """

    path: Path
    config: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)
    search: Mapping[str, Any] = field(default_factory=dict)
    result: RunResult | None = None

    @cached_property
    def known(self) -> KnownConfig:
        """What is read of the configuration.

        Raises:
            UserError: a value is of the wrong type.
        """
        return KnownConfig.from_json(self.config, self.path / "config.json")

    @property
    def title(self) -> str:
        """The folder's own name, without the folders above it."""
        return name(self.path.resolve().name)

    def phase(self, phase: str) -> list[Row]:
        """The rows of ``search`` or ``retrain``."""
        return [row for row in self.rows if row.get("phase") == phase and "epoch" in row]

    @property
    def curriculum(self) -> CurriculumSettings | None:
        """The settings of the curriculum; None where every sample has the same weight or nothing is searched."""
        found = self.result.curriculum if self.result else self.known.curriculum
        return found if found and found.active and not self.known.architecture else None

    @property
    def variant(self) -> str:
        """What distinguishes runs of one comparison, in words that hold nothing from outside."""
        if self.known.architecture or (self.result and not self.result.search):
            return f"given {self.part}"
        if not self.curriculum:
            return "plain"
        return "curriculum" if self.curriculum.count is None else self.curriculum.label

    @property
    def seed(self) -> str:
        """Of every random draw."""
        seed = self.result.seed if self.result else self.known.trainer.seed
        return "unknown" if seed is None else str(seed)

    @property
    def part(self) -> str:
        """What of its network is searched: a cell or an architecture."""
        return part_of(str(self.known.space.get("name") or (self.result and self.result.space)))

    @property
    def found(self) -> SearchFigures | None:
        """The figures of the search; None while it is not over, or where nothing is searched."""
        if self.result is not None:
            return self.result.search
        values = self.search.get("search")
        return SearchFigures.from_json(values, self.path / "search.json") if values else None

    @property
    def algorithm(self) -> str:
        """The name of the search algorithm."""
        return name((self.result and self.result.algorithm) or self.known.search.get("name") or "unnamed")

    @property
    def dataset(self) -> str:
        """The name of the data, without folders."""
        return name(self.result.dataset.name if self.result else self.known.data or "unnamed")

    @cached_property
    def space(self) -> SearchSpace | None:
        """The search space with the sizes of the run; None where the folder does not name it."""
        values = dict(self.known.space)
        name_of_space = values.pop("name", self.result and self.result.space)
        try:
            found = space_class(str(name_of_space))
            # A folder of an earlier version says nothing of later fields.
            return from_dict(found, to_dict(found()) | values)  # type: ignore[type-var, arg-type] # spaces are dataclasses
        except ValueError:  # the folder is of another version, or says what no run does
            return None

    @property
    def notation(self) -> str:
        """The string of the architecture that was found or given; empty where there is none yet."""
        found = self.result.architecture.string if self.result else self.search.get("string")
        return str(found or self.known.architecture or "")

    @property
    def architecture(self) -> Architecture | None:
        """The architecture that was found or given."""
        return self.parse(self.notation)

    def parse(self, text: str | None) -> Architecture | None:
        """The architecture in the notation of the space; None where it is none of it."""
        try:
            return self.space.parse(text) if self.space and text else None
        except UserError:
            return None


def read_run(folder: Path) -> RunRecord:
    """Read the files of a run folder; of an unfinished run, what there is so far.

    Raises:
        UserError: it is no run folder, or one of its files is not what a run writes; the message names it.
    """
    if not folder.is_dir():
        raise UserError(f"run {str(folder)[:80]!r} must be a folder that a run has written; there is none")
    home, result = RunFolder(folder), RunResult.load_if_finished(folder)
    config, search = home.read_json("config.json"), home.read_json("search.json")
    if config is None and result is None:
        raise UserError(f"run {str(folder)[:80]!r} has neither config.json nor result.json, so no run has written it")
    config = by_new_names(config or {})
    return RunRecord(folder, config, metrics_log.read(folder / "metrics.jsonl"), search or {}, result)


def formatted(problem: Exception, records: Sequence[RunRecord]) -> str:
    """A message about some runs in one line without a full stop, with the last parts of folders alone."""
    text = str(problem)
    for record in records:
        for place in (str(record.path), record.known.data or ""):
            # The regular expression of `name` ends a folder at a blank.
            text = text.replace(place, Path(place).name) if place else text
    return name(text).rstrip(".")
