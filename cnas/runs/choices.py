"""The configuration that somebody's choices make, where all that is left open is as it was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from cnas import presets
from cnas.curricula import Curriculum, curriculum_class, like
from cnas.data.images import ImageConfig
from cnas.data.text import TextConfig
from cnas.errors import UserError
from cnas.fields import from_dict
from cnas.runs.config import SECTIONS, RunConfig
from cnas.spaces import space_class
from cnas.spaces.base import SearchSpace
from cnas.training.arguments import LoopArguments, RetrainArguments, SearchArguments

Arguments = TypeVar("Arguments", bound=LoopArguments)


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
    name = space if isinstance(space, str) else space.name
    config = published(name, algorithm if isinstance(algorithm, str) else algorithm.name)
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
        chosen["text" if isinstance(data_args, TextConfig) else "images"] = data_args
    config = replace(config, recipe=f"{name}-{config.algorithm}", preset="custom", **chosen)
    config.to_json()  # checks the type of every field
    return config


def _chosen(published: Arguments, own: Arguments | None) -> Arguments:
    """The published arguments, but for those that were given."""
    return published if own is None else replace(published, **{name: getattr(own, name) for name in own.given or ()})


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
            ``space={"hidden_size": 16}``, ``curriculum=None``, ``retrain=RetrainArguments(...)``.

    Raises:
        UserError: there is no such preset, field or value.
    """
    sections = {key: value for key, value in changes.items() if key in SECTIONS}
    parts = {key: value for key, value in sections.items() if value is None or isinstance(value, Mapping)}
    config = RunConfig.assemble(presets.merged(presets.find(name), parts), algorithm)
    config = replace(config, **{key: value for key, value in sections.items() if key not in parts})
    own = {key: value for key, value in changes.items() if key not in SECTIONS}
    return replace(config, trainer=replace(config.trainer, **own)) if own else config


def published(space: str, algorithm: str | None = None) -> RunConfig:
    """What was published for a space, with an algorithm; the defaults of the classes where nothing was.

    Args:
        space: a name.
        algorithm: a name; the published one where None.

    Raises:
        UserError: there is no such space or algorithm.
    """
    preset = space_class(space).published
    found = {"space": {"name": space}} if preset is None else presets.find(preset)
    # It is a search of somebody's own, not the preset.
    return RunConfig.assemble({name: found[name] for name in found.keys() - {"recipe", "preset"}}, algorithm)
