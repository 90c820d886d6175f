"""The complete configuration of a run: what ``config.json`` holds and what the flags of a recipe change."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from cnas import algorithms, spaces
from cnas.curricula import CurriculumConfig
from cnas.data.images import ImageConfig
from cnas.data.paths import plainly
from cnas.data.text import TextConfig
from cnas.errors import UserError
from cnas.runs.fields import from_dict, to_dict
from cnas.runs.flags import add_flags, apply_flags
from cnas.spaces.base import SearchSpace
from cnas.training.arguments import RetrainConfig, TrainerConfig
from cnas.training.launcher_flags import launched_precision

VERSION = 2
"""Of the layout of ``config.json``; a file of another one is refused."""
EMBEDDED = ("pydoc", "digits")
"""Data that is no path, whatever lies in the working folder."""
_NAME = re.compile(r"\w[\w.-]{0,63}", re.ASCII)
"""Of recipes and presets, which are in the name of the default run folder."""
_HEAD = {"recipe", "preset", "options"}
"""What is no part of a `RunConfig` with flags of its own prefix."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What belongs to no part of a run: its data, seed, precision and tracker."""

    data: str = "pydoc"
    """Text: pydoc, ptb_text_only, another data set of the Hub, or a folder of Parquet or txt files. Images: digits,
    cifar10, cifar100, another data set of the Hub, or a folder of Parquet files or pictures."""
    seed: int = 1
    """Of every random draw."""
    architecture: str | None = None
    """Train this architecture instead of searching for one."""
    table: str | None = None
    """A table of NATS-Bench, as Parquet, in which the found image classifier is looked up."""
    mixed_precision: Literal["no", "bf16", "fp16"] = field(default_factory=launched_precision)  # type: ignore[arg-type]
    """Arithmetic of the matrix products; losses and weights stay in float32. What `accelerate launch` was given counts
    where nothing is here."""
    log_with: str | None = None
    """A tracker of Accelerate, e.g. tensorboard or trackio."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"seed must be at least 0, got {self.seed}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run does; equal configurations give equal runs.

    Args:
        recipe: name of the recipe, part of the default run folder.
        preset: name of the preset, part of the default run folder.
        options: data, seed and what else belongs to no part.
        text: vocabulary, length of a chunk, how much of each split is used; None where the data are images.
        images: how images are divided and augmented, how many are used; None where the data is text.
        space: the search space with the sizes of its supernet.
        search: the ``Config`` of an algorithm, e.g. ``cnas.algorithms.default_config("enas")``.
        trainer: the loop of the search.
        curriculum: how the data is reweighted; None is the plain algorithm.
        retrain: the loop of the training of the found network; no epochs leave it untrained.
        network: sizes, dropouts and regularisers of the found network: the space's `network_sizes`.

    Raises:
        UserError: there are both text and images, or neither, or a name could not be a part of a folder's.
    """

    recipe: str
    preset: str
    options: RunOptions
    text: TextConfig | None
    images: ImageConfig | None = None
    space: SearchSpace
    search: Any
    trainer: TrainerConfig
    curriculum: CurriculumConfig | None
    retrain: RetrainConfig
    network: Any

    def __post_init__(self) -> None:
        if (self.text is None) == (self.images is None):
            raise UserError("a run needs either text or images, and not both")
        for name in ("recipe", "preset"):
            if not _NAME.fullmatch(str(getattr(self, name))):
                allowed = "1 to 64 letters, digits and any of ._-, the first no dot or dash"
                raise UserError(f"{name} must be {allowed}, got {str(getattr(self, name))[:40]!r}")

    @property
    def algorithm(self) -> str:
        """The name under which `cnas.algorithms` offers what ``search`` configures."""
        return str(self.search.name)

    def sections(self) -> dict[str, Any]:
        """The parts that have flags, by the prefix of these; those that a run does without have none."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _HEAD}
        return {name: part for name, part in named.items() if part is not None}

    def to_json(self) -> dict[str, Any]:
        """What ``config.json`` holds; `from_json` reads it back."""
        parts = {name: to_dict(part, name) for name, part in self.sections().items()}
        parts["space"] = {"name": self.space.name, **parts["space"]}
        parts["search"] = {"name": self.algorithm, **parts["search"]}
        head = {"version": VERSION, "recipe": self.recipe, "preset": self.preset, **to_dict(self.options)}
        return head | dict.fromkeys(_OPTIONAL) | parts

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunConfig:
        """The inverse of `to_json`.

        Raises:
            UserError: another version of the layout, or a field that is missing, unknown or wrong.
        """
        if not isinstance(values, dict):
            raise UserError(f"config.json must hold a JSON object, got {type(values).__name__}")
        if values.get("version") != VERSION:
            found = values.get("version")
            raise UserError(f"config.json: version must be {VERSION}, got {found!r:.60}; start the run anew")
        try:
            space, search = _named(values["space"], "space"), _named(values["search"], "search")
            kind = spaces.space_class(space.pop("name"))
            kinds = _KINDS | {
                "space": kind,
                "search": type(algorithms.default_config(search.pop("name"))),
                "network": kind.network_sizes,
            }
            given = {**values, "space": space, "search": search}
            parts: dict[str, Any] = {
                name: None if name in _OPTIONAL and given[name] is None else from_dict(part, given[name], name)
                for name, part in kinds.items()
            }
            head = {name: given[name] for name in ("recipe", "preset")}
            options = {name: value for name, value in given.items() if name not in {"version", *head, *parts}}
            return cls(**head, **parts, options=from_dict(RunOptions, options))
        except UserError:
            raise
        except (KeyError, TypeError) as problem:
            raise UserError(f"config.json: {problem} is missing or of the wrong type") from problem
        except ValueError as problem:
            raise UserError(f"config.json: {problem}") from problem

    @property
    def hash(self) -> str:
        """8 hex digits that equal configurations share."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def default_folder(self) -> Path:
        """Where the run goes if nobody says otherwise; the same for every spelling of a path."""
        return Path("runs") / f"{self.recipe}-{self.preset}-s{self.options.seed}-{self.plainly_spelled().hash}"

    def plainly_spelled(self) -> RunConfig:
        """The same configuration with the shortest spelling of every path, so that equal ones compare equal."""
        options, images = self.options, self.images
        data, table = plainly(options.data), options.table and plainly(options.table)
        # A folder may be called like what is embedded; its spelling is then what tells them apart.
        options = replace(options, data=options.data if data in EMBEDDED else data, table=table)
        if images is not None and images.split_file is not None:
            images = replace(images, split_file=plainly(images.split_file))
        return replace(self, options=options, images=images)

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """One flag per field, with the current value as default."""
        add_flags(parser, self.options)
        for prefix, part in self.sections().items():
            add_flags(parser, part, prefix)

    def with_flags(self, given: argparse.Namespace) -> RunConfig:
        """The configuration with the given flags applied.

        Raises:
            UserError: a value is not allowed.
        """
        changed: dict[str, Any] = {"options": apply_flags(self.options, given)}
        for prefix, part in self.sections().items():
            try:
                changed[prefix] = apply_flags(part, given, prefix)
            except ValueError as problem:
                message = str(problem)
                dotted = message if message.startswith(("--", f"{prefix}.")) else f"{prefix}.{message}"
                raise UserError(dotted) from problem
        return replace(self, **changed)


def _named(found: Any, part: str) -> dict[str, Any]:
    """A part that says by its ``name`` what it is."""
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        raise UserError(f"config.json: {part} must be a mapping with a name, got {str(found)[:60]!r}")
    return dict(found)


_KINDS: dict[str, Any] = {
    "text": TextConfig,
    "images": ImageConfig,
    "trainer": TrainerConfig,
    "curriculum": CurriculumConfig,
    "retrain": RetrainConfig,
}
_OPTIONAL = ("text", "images", "curriculum")
