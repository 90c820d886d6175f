"""Tiny searches and trainings, built by convention: any space and algorithm gets its small sizes by field name.

Legend of sizes: 30 words, 8 hidden units, 2 nodes, 4 rows, chunks of 5 tokens; 8 x 8 pixels of 2 channels, 3 classes,
4 channels and one cell in a stage; a search takes a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from cnas import algorithms, spaces
from cnas.curricula import Curriculum
from cnas.data.base import OrderedBatches
from cnas.data.chunks import PackedChunks
from cnas.data.image_batches import ImageBatches
from cnas.data.image_set import ChannelStatistics, ImageSet
from cnas.data.streams import TextStreams
from cnas.spaces.base import SearchSpace
from cnas.training import RunContext, SearchArguments, SearchLoop, SearchParts
from cnas.training.metrics_log import read, stable

WORDS, LENGTH, ROWS = 30, 5, 4
DROPOUTS = ("words", "embedding", "input", "hidden", "output")
SPACE_SIZES = {"vocab_size": WORDS, "hidden_size": 8, "nodes": 2, "init_range": 0.5, "tar": 0.5}
SPACE_SIZES |= {"channels": 4, "cells": 1, "classes": 3, "image_channels": 2}
SPACE_SIZES |= {"width": (8, 12), "depth": (1, 2), "heads": (1, 2), "mlp": (8, 16), "head_dim": 4, "init_std": 0.3}
SPACE_SIZES |= {f"dropout_{name}": 0.1 for name in DROPOUTS}
SEARCH_SIZES = {"controller_size": 8, "updates": 3, "samples": 2, "derive_samples": 3, "learning_rate": 0.02}
SEARCH_SIZES |= {"proposals": 3, "population": 5, "generations": 2, "parents": 2, "mutations": 2, "crossovers": 2}
SEARCH_SIZES |= {"leaders": 4, "challengers": 3}


def tokens(count: int = 160, seed: int = 0) -> torch.Tensor:
    """A text in which each word suggests the next one."""
    jumps = torch.randint(0, 3, (count,), generator=torch.Generator().manual_seed(seed))
    found = [1]
    for jump in jumps[1:].tolist():
        found.append((found[-1] * 3 + jump) % WORDS)
    return torch.tensor(found)


def images(space: Any, count: int = 28, seed: int = 0) -> ImageSet:
    """Noise in which the place of a bright square tells the class."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % space.classes
    pixels = torch.randint(0, 100, (count, space.image_channels, 8, 8), generator=draws)
    for image, label in zip(pixels, labels.tolist(), strict=True):
        image[:, 2 * label : 2 * label + 3, 2:6] += 120
    return ImageSet(pixels.to(torch.uint8), labels)


def build_batches(space: Any, unit: str, batch_size: int, valid_batch_size: int) -> tuple[OrderedBatches, ...]:
    """(training batches, validation batches) of what a space reads: images where it has classes, else text."""
    if space.independent_rows:
        train = PackedChunks(tokens(), batch_size, LENGTH, unit, seed=1)
        return train, TextStreams(tokens(60, seed=1), valid_batch_size, LENGTH, context=2)
    if not hasattr(space, "classes"):
        train = TextStreams(tokens(), batch_size, LENGTH, unit)
        return train, TextStreams(tokens(60, seed=1), valid_batch_size, LENGTH)
    train, valid = images(space), images(space, 12, seed=1)
    options = {"seed": 1, "statistics": ChannelStatistics.of(train.images)}
    shuffled = ImageBatches(train, batch_size, stream="search/train", shuffle=True, **options)
    return shuffled, ImageBatches(valid, valid_batch_size, stream="search/valid", **options)


def _known(cls: type, sizes: dict[str, Any]) -> dict[str, Any]:
    return {field.name: sizes[field.name] for field in fields(cls) if field.name in sizes}


def build_space(name: str = "enas_rnn", **changes: Any) -> Any:
    """A space at its smallest."""
    cls = spaces.space_class(name)
    return cls(**_known(cls, SPACE_SIZES) | changes)


def fits(algorithm: str, space: str) -> bool:
    """Whether an algorithm can search a space."""
    kind, searched = algorithms.default_config(algorithm).algorithm, spaces.space_class(space)
    has_sizes = searched.extremes is not SearchSpace.extremes
    return (searched.relaxable or not kind.needs_relaxation) and (has_sizes or kind.paths_per_step == 1)


def algorithm_config(name: str, **changes: Any) -> Any:
    """The configuration of an algorithm at its smallest."""
    config = algorithms.default_config(name)
    return replace(config, **_known(type(config), SEARCH_SIZES) | changes)


def build_algorithm(space: Any, name: str = "enas", **changes: Any) -> Any:
    """An algorithm at its smallest."""
    return algorithm_config(name, **changes).build(space, seed=3)


def build_session(folder: Path, seed: int = 1, **options: Any) -> RunContext:
    """A session whose run folder is ``folder``; ``options`` are those of `Accelerator`."""
    folder.mkdir(parents=True, exist_ok=True)
    return RunContext(Accelerator(**options), folder, seed, "0123abcd")


def build_trainer(
    context: RunContext,
    curriculum: Curriculum | None = None,
    *,
    space: Any = None,
    algorithm: str = "enas",
    dtype: torch.dtype = torch.float32,
    callbacks: Any = (),
    **config: Any,
) -> SearchLoop:
    """A search at its beginning; ``config`` are fields of `SearchArguments`."""
    space = space or build_space()
    sizes = {"num_train_epochs": 3, "global_batch_size": ROWS, "eval_batch_size": 2} | config
    sizes = {"learning_rate": 1.0, "max_grad_norm": 1.0} | sizes
    trainer_config = SearchArguments(**sizes)
    unit = curriculum.unit if curriculum else "sequence"
    train, valid = build_batches(space, unit, trainer_config.global_batch_size, trainer_config.eval_batch_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        supernet = space.build_supernet().to(dtype)
    parts = SearchParts(
        space=space,
        supernet=supernet,
        algorithm=build_algorithm(space, algorithm),
        curriculum=curriculum,
        train=train,
        valid=valid,
    )
    return SearchLoop(parts, trainer_config, context, callbacks)


def rows(folder: Path, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl`` without what depends on the machine, and without keys that start so."""
    found = [stable(row) for row in read(folder / "metrics.jsonl")]
    return [{key: value for key, value in row.items() if not key.startswith(without or ("\0",))} for row in found]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, leaf) of everything in a nested state; tensors as (dtype, shape, bytes), without the clock."""
    match value:
        case dict():
            for key, item in value.items():
                if key != "seconds":
                    yield from leaves(item, f"{path}/{key}")
        case list() | tuple():
            for index, item in enumerate(value):
                yield from leaves(item, f"{path}[{index}]")
        case torch.Tensor():
            data = value.detach().contiguous().reshape(-1).view(torch.uint8)
            yield path, (value.dtype, tuple(value.shape), bytes(data.tolist()))
        case _:
            yield path, value


def bits(loop: Any) -> dict[str, Any]:
    """Everything a loop's checkpoint holds, exactly, without the clock."""
    return dict(leaves(loop.state()))
