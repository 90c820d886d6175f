"""The complete configuration of a run: what ``config.json`` holds and what the flags of a recipe change."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnas import algorithms, presets, spaces
from cnas.curricula import Curriculum, Uncertainty, curriculum_class, like
from cnas.data.images import ImageConfig
from cnas.data.paths import plainly
from cnas.data.text import TextConfig
from cnas.errors import UserError
from cnas.fields import display, field_names, from_dict, nearest, to_dict
from cnas.spaces.base import SearchSpace
from cnas.training.arguments import RetrainArguments, SearchArguments

VERSION = 3
"""Of the layout of ``config.json``; a file of another one is refused."""
EMBEDDED = ("pydoc", "digits")
"""Data that is no path, whatever lies in the working folder."""
_NAME = re.compile(r"\w[\w.-]{0,63}", re.ASCII)
"""Of recipes and presets, which are in the name of the default run folder."""


@dataclass(frozen=True, kw_only=True)
class RunSource:
    """What a run works on."""

    data: str = "pydoc"
    """Text: pydoc, ptb_text_only, another data set of the Hub, or a folder of Parquet or txt files. Images: digits,
    cifar10, cifar100, another data set of the Hub, or a folder of Parquet files or pictures."""
    architecture: str | None = None
    """Train this architecture instead of searching for one."""
    table: str | None = None
    """A table of trained architectures, as Parquet: the found one is looked up in it, and the supernet ranks some."""
    rank_every: int | None = None
    """With a table: rank its fixed set of architectures before the first and after every so many epochs; after the last
    one it always is."""

    def __post_init__(self) -> None:
        if self.rank_every is not None and self.rank_every < 1:
            raise UserError(f"rank_every must be at least 1 or none, got {self.rank_every}")
        if self.rank_every is not None and self.table is None:
            raise UserError(f"rank_every is {self.rank_every}, but there is no table whose architectures are ranked")


@dataclass(frozen=True, kw_only=True)
class RunConfig(RunSource):
    """Everything that decides what a run does; equal configurations give equal runs.

    Args:
        recipe: name of the recipe, part of the default run folder.
        preset: name of the preset, part of the default run folder.
        text: vocabulary, length of a chunk, how much of each split is used; None where the data are images.
        images: how images are divided and augmented, how many are used; None where the data is text.
        space: the search space with the sizes of its supernet.
        search: the ``Config`` of an algorithm, e.g. ``cnas.algorithms.default_config("enas")``.
        trainer: the loop of the search, and what belongs to the run: seed, precision, trackers.
        curriculum: how the data is reweighted, not set up; None is the plain algorithm.
        retrain: the loop of the training of the found network; no epochs leave it untrained.
        network: sizes, dropouts and regularisers of the found network: the space's `network_sizes`.

    Raises:
        UserError: there are both text and images, or neither, or a name could not be a part of a folder's.
    """

    recipe: str
    preset: str
    text: TextConfig | None
    images: ImageConfig | None = None
    space: SearchSpace
    search: Any
    trainer: SearchArguments
    curriculum: Curriculum | None
    retrain: RetrainArguments
    network: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.text is None) == (self.images is None):
            raise UserError("a run needs either text or images, and not both")
        for name in ("recipe", "preset"):
            if not _NAME.fullmatch(str(getattr(self, name))):
                allowed = "1 to 64 letters, digits and any of ._-, the first no dot or dash"
                raise UserError(f"{name} must be {allowed}, got {str(getattr(self, name))[:40]!r}")

    @property
    def source(self) -> RunSource:
        """The fields that are no sections."""
        return RunSource(**{name: getattr(self, name) for name in field_names(RunSource)})

    @property
    def seed(self) -> int:
        """Of every random draw."""
        return self.trainer.seed

    def with_seed(self, seed: int) -> RunConfig:
        """The same run with other draws."""
        return replace(self, trainer=replace(self.trainer, seed=seed))

    @property
    def algorithm(self) -> str:
        """The name under which `cnas.algorithms` offers what ``search`` configures."""
        return str(self.search.name)

    def sections(self) -> dict[str, Any]:
        """The parts that have flags, by the prefix of these; those that a run does without have none."""
        named = {name: getattr(self, name) for name in SECTIONS}
        return {name: part for name, part in named.items() if part is not None}

    def to_json(self) -> dict[str, Any]:
        """What ``config.json`` holds; `from_json` reads it back."""
        parts = {name: to_dict(part, name) for name, part in self.sections().items()}
        parts["space"] = {"name": self.space.name, **parts["space"]}
        parts["search"] = {"name": self.algorithm, **parts["search"]}
        if self.curriculum is not None:
            parts["curriculum"] = self.curriculum.to_json()
        head = {"version": VERSION, "recipe": self.recipe, "preset": self.preset, **to_dict(self.source)}
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
            return cls._complete(values)
        except UserError:
            raise
        except (KeyError, TypeError) as problem:
            raise UserError(f"config.json: {problem} is missing or of the wrong type") from problem
        except ValueError as problem:
            raise UserError(f"config.json: {problem}") from problem

    @classmethod
    def from_preset(cls, name: str, algorithm: str | None = None) -> RunConfig:
        """The configuration of a preset.

        Args:
            name: of the preset, see `cnas.presets.names`.
            algorithm: searches in place of the preset's own.

        Raises:
            UserError: there is no such preset or algorithm.

        Example:
            >>> RunConfig.from_preset("nats_cl/smoke", "spos").search.generations
            1
        """
        return cls.assemble(presets.find(name), algorithm)

    @classmethod
    def assemble(cls, values: Mapping[str, Any], algorithm: str | None = None) -> RunConfig:
        """The configuration that some of the entries of a ``config.json`` make; all others have their defaults.

        Args:
            values: e.g. of a preset. ``algorithms`` has settings of ``search`` by the name of the algorithm; those of
                the one that is chosen hold, where ``search`` does not say otherwise.
            algorithm: searches in place of the one in ``values``.

        Raises:
            UserError: an unknown entry, or a value that is not allowed.

        Example:
            >>> RunConfig.assemble({"space": {"name": "enas_rnn"}, "search": {"name": "rsps"}}).retrain.learning_rate
            20.0
        """
        _check_entries(values)
        given = dict(values)
        settings = given.pop("algorithms", {})
        kind = spaces.space_class(_named(given.get("space"), "space")["name"])
        search = presets.merged(given.get("search", {}), {} if algorithm is None else {"name": algorithm})
        name = _named(search, "search")["name"]
        given["search"] = presets.merged({"name": name, **settings.get(name, {})}, search)
        section = kind.data_section
        for other in {"text", "images"} - {section}:
            if given.get(other) is not None:
                raise UserError(f"{other} must be left out, since the space {kind.name} reads {section}")
        default = cls(
            recipe=f"{kind.name}-{name}",
            preset="custom",
            text=TextConfig() if section == "text" else None,
            images=ImageConfig() if section == "images" else None,
            space=kind(),
            search=algorithms.default_config(name),
            trainer=SearchArguments(),
            curriculum=Uncertainty(unit="sequence" if section == "text" else "sample"),
            retrain=RetrainArguments(),
            network=kind.network_sizes(),
        ).to_json()
        try:
            return cls._complete(presets.merged(default, given))
        except (TypeError, ValueError) as problem:
            raise UserError(str(problem)) from problem

    @classmethod
    def _complete(cls, values: dict[str, Any]) -> RunConfig:
        space, search = _named(values["space"], "space"), _named(values["search"], "search")
        curriculum = values["curriculum"] and _named(values["curriculum"], "curriculum")
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
        if curriculum is not None:
            parts["curriculum"] = curriculum_class(curriculum.pop("name")).from_json(curriculum)
        head = {name: given[name] for name in ("recipe", "preset")}
        source = {name: value for name, value in given.items() if name not in {"version", *head, *SECTIONS}}
        return cls(**head, **{"curriculum": None, **parts}, **vars(from_dict(RunSource, source)))

    @property
    def hash(self) -> str:
        """8 hex digits that equal configurations share."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def default_folder(self) -> Path:
        """Where the run goes if nobody says otherwise; the same for every spelling of a path."""
        return Path("runs") / f"{self.recipe}-{self.preset}-s{self.seed}-{self.plainly_spelled().hash}"

    def plainly_spelled(self) -> RunConfig:
        """The same configuration with the shortest spelling of every path, so that equal ones compare equal."""
        images, data, table = self.images, plainly(self.data), self.table and plainly(self.table)
        # A folder may be called like what is embedded; its spelling is then what tells them apart.
        data = self.data if data in EMBEDDED else data
        if images is not None and images.split_file is not None:
            images = replace(images, split_file=plainly(images.split_file))
        return replace(self, data=data, table=table, images=images)

    def with_curriculum(self, name: str) -> RunConfig:
        """The same run with another curriculum; of the one it has, what every curriculum knows stays.

        Raises:
            UserError: there is none of that name, or the run has no curriculum.
        """
        if self.curriculum is None:
            raise UserError(f"curriculum.name is {name!r:.60}, but this run has no curriculum")
        return replace(self, curriculum=like(self.curriculum, name))


def _check_entries(values: Any) -> None:
    """Refuse what can be no part of a configuration."""
    if not isinstance(values, Mapping):
        raise UserError(f"a configuration must be a mapping, got {display(values)}")
    known = [*field_names(RunSource), *SECTIONS, "algorithms", "recipe", "preset", "version"]
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{str(name)[:60]} is no entry; allowed: {', '.join(known)}{nearest(name, known)}")
        if name in (*SECTIONS, "algorithms") and not (
            isinstance(value, Mapping) or (value is None and name in _OPTIONAL)
        ):
            raise UserError(f"{name} must be a mapping, got {display(value)}")
    for name, value in values.get("algorithms", {}).items():
        if not isinstance(value, Mapping):
            raise UserError(f"algorithms.{name} must be a mapping, got {display(value)}")
    if values.get("version", VERSION) != VERSION:
        raise UserError(f"version must be {VERSION}, got {display(values['version'])}")


def _named(found: Any, part: str) -> dict[str, Any]:
    """A part that says by its ``name`` what it is."""
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        raise UserError(f"{part} must be a mapping with a name, got {str(found)[:60]!r}")
    return dict(found)


_KINDS: dict[str, Any] = {
    "text": TextConfig,
    "images": ImageConfig,
    "trainer": SearchArguments,
    "retrain": RetrainArguments,
}
_OPTIONAL = ("text", "images", "curriculum")
SECTIONS = ("text", "images", "space", "search", "trainer", "curriculum", "retrain", "network")
"""The parts of a `RunConfig`, which are also the prefixes of its flags."""
