"""Curriculum search for an image classifier in the topology space of NATS-Bench.

python recipes/nats_cl.py --preset smoke                     # a minute, handwritten digits, no download
python recipes/nats_cl.py --algorithm gdas --data cifar10 --table tss.parquet
accelerate launch recipes/nats_cl.py --preset paper --data cifar10 --algorithm darts_v2 --no-curriculum

The found cell is looked up in the table; --retrain.num_train_epochs 20 trains it as well.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from cnas import algorithms
from cnas.cli import launch
from cnas.curricula import Uncertainty
from cnas.data.images import ImageConfig
from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.runs.flags import OneLineParser
from cnas.spaces import NatsNetworkSizes, NatsSpace
from cnas.training import RetrainArguments, SearchArguments

NAMES = tuple(algorithms.names())
"""All there are: the six algorithms of the paper's Table 2, and SPOS, which it names in section 3.4, among them."""

PUBLISHED: dict[str, dict[str, Any]] = {
    "darts_v1": {"learning_rate": 3e-4, "betas": (0.5, 0.999), "weight_decay": 1e-3, "order": "after"},
    "enas": {
        "controller_size": 32,
        "tanh_constant": 2.5,
        "init_range": 0.1,
        "learning_rate": 1e-3,
        "betas": (0.5, 0.999),
        "epsilon": 1e-3,
        "clip_norm": 5.0,
        "entropy_weight": 1e-4,
        "baseline_decay": 0.99,
        "reward_scale": 1.0,
        "updates": 50,
        "samples": 20,
        "derive_samples": 100,
    },
    "darts_v2": {"learning_rate": 3e-4, "betas": (0.5, 0.999), "weight_decay": 1e-3, "order": "after"},
}
"""What the code of NATS-Bench sets otherwise than the algorithm's own defaults."""

EVOLUTION = {"population": 12, "parents": 4, "mutations": 6, "crossovers": 6}
"""What the small presets have of SPOS's evolution."""


def paper(algorithm: str = "gdas") -> RunConfig:
    """The published search (weight-sharing.config of NATS-Bench; Zhou et al. 2022, section 4.1): 100 epochs."""
    return RunConfig(
        recipe=f"nats_cl_{algorithm}",
        preset="paper",
        data="digits",
        text=None,
        images=ImageConfig(),
        space=NatsSpace(),
        search=replace(algorithms.default_config(algorithm), **PUBLISHED.get(algorithm, {})),
        trainer=SearchArguments(
            num_train_epochs=100,
            global_batch_size=64,
            eval_batch_size=512,
            learning_rate=0.025,
            lr_scheduler_type="cosine_by_epoch",
            final_learning_rate=0.001,
            momentum=0.9,
            nesterov=True,
            weight_decay=5e-4,
            max_grad_norm=None,
        ),
        curriculum=Uncertainty(num_candidates=5, refresh="epoch", unit="sample"),
        retrain=training(epochs=0),
        network=NatsNetworkSizes(),
    )


def training(epochs: int) -> RetrainArguments:
    """The benchmark's recipe for stand-alone networks (Dong et al. 2021, Table 2), with so many epochs of its 200."""
    return RetrainArguments(
        num_train_epochs=epochs,
        global_batch_size=256,
        learning_rate=0.1,
        lr_scheduler_type="cosine_by_epoch",
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        max_grad_norm=None,
        nonmonotone=None,
    )


def cpu(algorithm: str = "gdas") -> RunConfig:
    """A small supernet on four thousand images: minutes on two cores."""
    whole = paper(algorithm)
    return replace(
        whole,
        preset="cpu",
        images=ImageConfig(search_images=4000, valid_images=1000),
        space=NatsSpace(channels=8, cells=1),
        search=_shortened(
            whole.search, samples=20, derive_samples=20, proposals=20, updates=10, generations=5, **EVOLUTION
        ),
        trainer=replace(whole.trainer, num_train_epochs=12, eval_batch_size=250),
        network=NatsNetworkSizes(channels=16, cells=1),
    )


def smoke(algorithm: str = "gdas") -> RunConfig:
    """Everything once, the training of the found network included, within a minute."""
    whole = cpu(algorithm)
    return replace(
        whole,
        preset="smoke",
        images=ImageConfig(search_images=256, valid_images=128, train_images=512, test_images=256),
        space=NatsSpace(channels=4, cells=1),
        search=_shortened(whole.search, samples=5, derive_samples=5, proposals=5, updates=3, generations=1),
        trainer=replace(whole.trainer, num_train_epochs=4, global_batch_size=32, eval_batch_size=64),
        retrain=replace(training(epochs=2), global_batch_size=64),
        network=NatsNetworkSizes(channels=8, cells=1),
    )


def _shortened(config: Any, **sizes: int) -> Any:
    """A search configuration with those of ``sizes`` that it has."""
    known = {field.name for field in fields(config)}
    return replace(config, **{name: value for name, value in sizes.items() if name in known})


def presets(algorithm: str) -> dict[str, Any]:
    """The presets of one algorithm."""
    return {preset.__name__: partial(preset, algorithm) for preset in (smoke, cpu, paper)}


def parse(argv: Sequence[str]) -> tuple[RunConfig, Path, bool]:
    """(configuration, run folder, whether to resume) of a command line; `cnas sweep` asks for them."""
    flag, algorithm = _algorithm(argv)
    return launch.parse(presets(algorithm), argv, "cpu", [flag])


def _algorithm(argv: Sequence[str]) -> tuple[OneLineParser, str]:
    """The flag that comes before all others, since the presets depend on it, and its value."""
    flag = OneLineParser(add_help=False)
    flag.add_argument("--algorithm", metavar="NAME", default="gdas", help=f"one of {', '.join(NAMES)}")
    name = flag.parse_known_args(argv)[0].algorithm
    if name not in NAMES:
        raise UserError(f"--algorithm must be one of {', '.join(NAMES)}, got {name[:40]!r}")
    return flag, name


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the exit code (see `cnas.errors`)."""
    return launch.main(PRESETS, argv, own=parse)


PRESETS = presets("gdas")

if __name__ == "__main__":
    sys.exit(main())
