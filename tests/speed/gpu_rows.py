"""The rows of the benchmark on a GPU: whole steps of the published presets, built as a run builds them."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from gpu_steps import Enough, Plan, Steps, forget

from cnas.data.image_batches import Augment
from cnas.data.image_set import ChannelStatistics, ImageSet
from cnas.data.images import ImageData
from cnas.data.text import TextConfig, TextData, load_text
from cnas.data.vocabulary import EOS, UNK, Vocabulary
from cnas.runs import pipeline
from cnas.runs.choices import preset_with
from cnas.runs.config import RunConfig
from cnas.runs.devices import make_accelerator
from cnas.runs.folder import RunFolder
from cnas.runs.hooks import Hooks
from cnas.runs.images import ImageTask
from cnas.runs.session import at_work
from cnas.runs.task import Task
from cnas.runs.text import TextTask
from cnas.training import RunContext, SearchLoop
from cnas.training.context import StopSignal
from cnas.training.retrain import Retrainer

CANDIDATES = 5
VALIDATION = 73_760
"""Tokens of the Penn Treebank's validation text."""
PRECISIONS: dict[str, dict[str, bool]] = {
    "fp32": {},
    "tf32": {"tf32": True},
    "bf16": {"bf16": True},
    "fp16": {"fp16": True},
}
TINY_TEXT = {
    "text": {"length": 5},
    "space": {"hidden_size": 8, "nodes": 2},
    "network": {"hidden_size": 8},
    "trainer": {"global_batch_size": 4, "eval_batch_size": 4},
    "retrain": {"global_batch_size": 4},
}
TINY_IMAGES = {"space": {"channels": 4, "cells": 1}, "trainer": {"global_batch_size": 4, "eval_batch_size": 4}}

Loop = SearchLoop | Retrainer


def search(task: Task, context: RunContext, callbacks: Sequence[Any]) -> SearchLoop:
    """The search, at its beginning."""
    return pipeline.search_loop(task, context, Hooks(callbacks))


def training(task: Task, context: RunContext, callbacks: Sequence[Any]) -> Retrainer:
    """The training of some network of the space, at its beginning."""
    config = task.config
    architecture = config.space.sample(context.generator("probe", 0))
    with pipeline.seeded(config.seed, "network"):
        network = config.space.build_network(architecture, **asdict(config.network))
    train, validate = task.training()
    return Retrainer(network, train, config.retrain, context, partial(validate, graphs=context.graphs), callbacks)


def score(loop: Any) -> int:
    """The pass in which candidates score the training data; returns how many batches that has."""
    candidates = loop.algorithm.candidates(CANDIDATES, loop.context.generator("judges", 0))
    loop.scorer.units(candidates, loop.batches.scoring_view(), lambda: None)
    return len(loop.batches)


def validate(loop: Any) -> int:
    """The validation that follows an epoch of a training."""
    loop._figures()  # as the loop itself calls it
    return 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of work.

    Args:
        preset: whose sizes and settings it has.
        algorithm: of the search.
        loop: builds the loop whose steps these are.
        instead: what is done over and over with that loop, in place of its steps.
        unit: what is timed.
        chunks: batches of an epoch, where they are to be few.
        goals: milliseconds by precision, on an H100.
    """

    preset: str
    algorithm: str
    loop: Callable[[Task, RunContext, Sequence[Any]], Loop] = search
    instead: Callable[[Any], int] | None = None
    unit: str = "step"
    chunks: int | None = None
    goals: Mapping[str, float] = field(default_factory=dict)

    def config(self, precision: str, mode: str, tiny: bool) -> RunConfig:
        """The preset's, with a precision and a mode of `torch_compile`."""
        sizes: Mapping[str, Mapping[str, Any]] = {}
        if tiny:
            sizes = TINY_IMAGES if self.preset.startswith("nats") else TINY_TEXT
        return preset_with(self.preset, self.algorithm, {**sizes, "torch_compile": mode, **PRECISIONS[precision]})


DARTS, ENAS, NATS = "ptb_cl_darts/paper", "ptb_cl_enas/paper", "nats_cl/paper"
ROWS = {
    "darts_v1": Row(
        preset=DARTS,
        algorithm="darts_v1",
        goals={"fp32": 55, "tf32": 36, "bf16": 28},
    ),
    "enas": Row(
        preset=ENAS,
        algorithm="enas",
        goals={"fp32": 14, "tf32": 11, "bf16": 11},
    ),
    "derived": Row(
        preset=DARTS,
        algorithm="darts_v1",
        loop=training,
        goals={"fp32": 30, "tf32": 16, "bf16": 10},
    ),
    "scoring_enas": Row(
        preset=ENAS,
        algorithm="enas",
        instead=score,
        unit="batch",
        chunks=20,
        goals={"fp32": 8, "tf32": 5, "bf16": 5},
    ),
    "scoring_darts": Row(
        preset=DARTS,
        algorithm="darts_v1",
        instead=score,
        unit="batch",
        chunks=20,
        goals={"fp32": 18, "tf32": 10, "bf16": 10},
    ),
    "nats_darts_v1": Row(preset=NATS, algorithm="darts_v1", goals={"fp32": 75}),
    "darts_v2": Row(
        preset=DARTS,
        algorithm="darts_v2",
        goals={"fp32": 160, "tf32": 110, "bf16": 90},
    ),
    "validation": Row(
        preset=DARTS,
        algorithm="darts_v1",
        loop=training,
        instead=validate,
        unit="pass",
        goals={"fp32": 1000},
    ),
    "nats_rsps": Row(preset=NATS, algorithm="rsps", goals={"fp32": 39}),
    "nats_gdas": Row(preset=NATS, algorithm="gdas", goals={"fp32": 109}),
    "nats_setn": Row(preset=NATS, algorithm="setn", goals={"fp32": 113}),
}
"""By name, those that are worth most first."""


def measure(
    row: Row, plan: Callable[[Steps], Plan], precision: str, mode: str, options: argparse.Namespace, chunks: int
) -> dict[str, Any]:
    """Run a row's steps through a plan; what it found, and how its graphs came to be.

    Args:
        row: which work.
        plan: what is done with its steps.
        precision: a key of `PRECISIONS`.
        mode: of `torch_compile`.
        options: of the command line.
        chunks: batches of an epoch, in which the plan should end.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    config = row.config(precision, mode, options.tiny)
    task = (image_task if config.text is None else text_task)(config, row.chunks or chunks, options)
    # What a run prints is for people; here every line is JSON.
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(sys.stderr):
        folder = RunFolder(Path(name) / "run")
        accelerator = make_accelerator(task.config, folder.path)
        forget(accelerator.device)
        steps = Steps(plan, accelerator.device, row.instead)
        with at_work(folder, task.config, accelerator, "0", lambda: False, stop=StopSignal(), resume=False) as context:
            steps.loop = row.loop(task, context, (steps,))
            with contextlib.suppress(Enough):
                steps.loop.run()
            described = {"graphs": context.graphs.describe()}
    return steps.found | described


def text_task(config: RunConfig, chunks: int, options: argparse.Namespace) -> TextTask:
    """A text, and the configuration for it; as long as so many chunks of every batch need, by repetition."""
    assert config.text is not None
    words, train, valid = made_up_text(options.tiny) if options.data is None else real_text(options.data)
    rows = max(config.trainer.global_batch_size, config.retrain.global_batch_size)
    needed = rows * (chunks * config.text.length + 1)
    train = train.repeat(-(-needed // len(train)))[:needed]
    vocabulary = Vocabulary(words)
    config = sized(config, len(words))
    return TextTask(config, TextData("benchmark", "0", vocabulary, train, valid, None, train, {}))


def sized(config: RunConfig, words: int) -> RunConfig:
    """The configuration for a vocabulary of so many words."""
    space: Any = config.space
    space, network = replace(space, vocab_size=words), replace(config.network, vocab_size=words)
    return replace(config, space=space, network=network)


@cache
def made_up_text(tiny: bool) -> tuple[tuple[str, ...], torch.Tensor, torch.Tensor]:
    """A text in which each word suggests the next one: (words, training tokens, validation tokens)."""
    count, size = (30, 40) if tiny else (10_000, 1000)
    draws = torch.Generator().manual_seed(0)
    tokens = [torch.randint(count, (size,), generator=draws)]
    for jump in torch.randint(3, (size - 1, size), generator=draws):
        tokens.append((3 * tokens[-1] + jump) % count)
    train = torch.stack(tokens, dim=1).flatten()
    words = (UNK, EOS, *(f"w{index}" for index in range(2, count)))
    return words, train, train[: 200 if tiny else VALIDATION].clone()


@cache
def real_text(folder: str) -> tuple[tuple[str, ...], torch.Tensor, torch.Tensor]:
    """The text of a folder, as a run reads it."""
    data = load_text(folder, TextConfig())
    assert isinstance(data.vocabulary, Vocabulary)
    return data.vocabulary.words, data.train, data.validation


def image_task(config: RunConfig, chunks: int, options: argparse.Namespace) -> ImageTask:
    """Noise of the size of CIFAR-10's images, with classes."""
    side, batch = 8 if options.tiny else 32, config.trainer.global_batch_size
    draws = torch.Generator().manual_seed(0)

    def images(count: int) -> ImageSet:
        pixels = torch.randint(256, (count, 3, side, side), generator=draws, dtype=torch.uint8)
        return ImageSet(pixels, torch.arange(count) % 10)

    train, valid = images(batch * chunks), images(max(batch * 8, config.trainer.eval_batch_size))
    classes = tuple(f"c{index}" for index in range(10))
    statistics = ChannelStatistics((0.5,) * 3, (0.25,) * 3)
    data = ImageData("benchmark", "0", classes, train, valid, None, train, statistics, Augment(), {}, {})
    return ImageTask(config, data)
