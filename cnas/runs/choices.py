"""The configuration that somebody's choices make, where all that is left open is as it was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from cnas import presets
from cnas.algorithms.base import AlgorithmConfig
from cnas.curricula import Curriculum, curriculum_class, like
from cnas.data.images import ImageConfig
from cnas.data.text import TextConfig
from cnas.errors import UserError
from cnas.fields import RemembersGiven, display, from_dict, is_config
from cnas.runs.config import SECTIONS, RunConfig
from cnas.spaces import space_class
from cnas.spaces.base import SearchSpace
from cnas.training.arguments import RetrainArguments, SearchArguments

Given = TypeVar("Given", bound=RemembersGiven)
ARGUMENTS = {"args": "trainer", "retrain_args": "retrain"}
"""Sections by the names of the trainer's arguments."""


def choose(
    space: str | SearchSpace,
    algorithm: Any,
    curriculum: Any,
    args: SearchArguments | None = None,
    retrain_args: RetrainArguments | None = None,
    data_args: TextConfig | ImageConfig | None = None,
) -> RunConfig:
    """The configuration of a run: what was published for the space, but for what is chosen.

    Args:
        space: a name, or a space with its sizes.
        algorithm: a name, or the ``Config`` of an algorithm.
        curriculum: a name, a `Curriculum`, or None for the plain algorithm.
        args: of the search; fields that were not given are open.
        retrain_args: of the training, likewise; ``model_init_kwargs`` are sizes of the network.
        data_args: how the data is cut.

    Raises:
        UserError: there is no such space, algorithm, curriculum or size of the network, or the data is of another
            kind.
    """
    _check_kinds(space, algorithm, args, retrain_args, data_args)
    name = space if isinstance(space, str) else space.name
    config = published(name, algorithm if isinstance(algorithm, str) else algorithm.name, own_data=True)
    sizes = (retrain_args.model_init_kwargs if retrain_args else None) or {}
    chosen: dict[str, Any] = {
        "trainer": _chosen(config.trainer, args),
        "retrain": _chosen(config.retrain, retrain_args),
        "curriculum": _curriculum(curriculum, config.curriculum),
        "network": from_dict(type(config.network), sizes, "model_init_kwargs", config.network),
    }
    if not isinstance(space, str):
        chosen["space"] = space
    if not isinstance(algorithm, str):
        chosen["search"] = algorithm
    if data_args is not None:
        section = "text" if isinstance(data_args, TextConfig) else "images"
        chosen[section] = _chosen(getattr(config, section) or type(data_args)(), data_args)
    config = replace(config, recipe=f"{name}-{config.algorithm}", preset="custom", **chosen)
    config.to_json()  # checks the type of every field
    return config


KINDS: dict[str, tuple[Any, str]] = {
    "space": (str | SearchSpace, "a name or a space, e.g. EnasRnnSpace()"),
    "algorithm": (str | AlgorithmConfig, "a name, or e.g. ENAS.Config()"),
    "args": (SearchArguments | None, "SearchArguments"),
    "retrain_args": (RetrainArguments | None, "RetrainArguments"),
    "data_args": (TextConfig | ImageConfig | None, "a TextConfig or an ImageConfig"),
}


def _check_kinds(*given: Any) -> None:
    """Raise a `UserError` for the first that is of another kind than its argument wants."""
    for (name, (kind, allowed)), value in zip(KINDS.items(), given, strict=True):
        if not isinstance(value, kind):
            found = value.__name__ if isinstance(value, type) else f"a {type(value).__name__}"
            raise UserError(f"{name} must be {allowed}, got {found}")


def _chosen(published: Given, own: Given | None) -> Given:
    """The published arguments, but for those that were given."""
    return published if own is None else replace(published, **{name: getattr(own, name) for name in own.given or ()})


def resumes(resume_from_checkpoint: bool | None) -> bool:
    """Whether a run goes on from its folder.

    Raises:
        UserError: a checkpoint is named, and it is always the newest one.
    """
    if not isinstance(resume_from_checkpoint, bool | None):
        found = display(str(resume_from_checkpoint))
        raise UserError(f"resume_from_checkpoint must be True, which takes the newest one, False or None, got {found}")
    return bool(resume_from_checkpoint)


def _curriculum(chosen: Any, published: Curriculum | None) -> Curriculum | None:
    """A curriculum by its name has the unit, and where it can the number of candidates, that were published."""
    if isinstance(chosen, str):
        return curriculum_class(chosen)() if published is None else like(published, chosen)
    if chosen is None or isinstance(chosen, Curriculum):
        return chosen
    raise UserError(f"curriculum must be a name, a Curriculum or None, got {type(chosen).__name__}")


def preset_with(name: str, algorithm: str | None, changes: Mapping[str, Any]) -> RunConfig:
    """The configuration of a preset with changes.

    Args:
        name: of the preset, e.g. ``"ptb_cl_enas/smoke"``.
        algorithm: searches in place of the preset's own.
        changes: fields of `SearchArguments`; or sections, each a mapping of what changes in it, or a whole one:
            ``space={"hidden_size": 16}``, ``curriculum=None``, ``retrain=RetrainArguments(...)``, of which what was
            given counts. They are also known as ``args``, ``retrain_args`` and ``data_args``.

    Raises:
        UserError: there is no such preset, field or value.
    """
    found = presets.find(name)
    names = ARGUMENTS | {"data_args": space_class(found["space"]["name"]).data_section}
    changes = {names.get(key, key): value for key, value in changes.items()}
    if sizes := getattr(changes.get("retrain"), "model_init_kwargs", None):
        changes = {"network": sizes, **changes}
    sections = {key: value for key, value in changes.items() if key in SECTIONS}
    parts = {key: value for key, value in sections.items() if value is None or isinstance(value, Mapping)}
    config = RunConfig.assemble(presets.merged(found, parts), algorithm)
    whole = {key: _whole(key, value, getattr(config, key)) for key, value in sections.items() if key not in parts}
    config = replace(config, **whole)
    own = {key: value for key, value in changes.items() if key not in SECTIONS}
    return replace(config, trainer=replace(config.trainer, **own)) if own else config


def _whole(section: str, value: Any, known: Any) -> Any:
    """A section that is no mapping of what changes in it."""
    if section == "curriculum":
        return _curriculum(value, known)
    if not is_config(value):
        raise UserError(f"{section} must be a mapping or an object, got {display(value)}")
    return _chosen(known, value) if isinstance(value, RemembersGiven) and type(value) is type(known) else value


def published(space: str, algorithm: str | None = None, *, own_data: bool = False) -> RunConfig:
    """What was published for a space, with an algorithm; the defaults of the classes where nothing was.

    Args:
        space: a name.
        algorithm: a name; the published one where None.
        own_data: whether what is found is to be trained, since no benchmark knows it.

    Raises:
        UserError: there is no such space or algorithm.
    """
    kind = space_class(space)
    preset = (own_data and kind.own_data) or kind.published
    found = {"space": {"name": space}} if preset is None else presets.find(preset)
    # It is a search of somebody's own, not the preset.
    return RunConfig.assemble({name: found[name] for name in found.keys() - {"recipe", "preset"}}, algorithm)
