"""Training of one cell of NATS-Bench from new weights, as the benchmark trains its cells. Nothing is searched.

python recipes/nats_train.py --preset smoke                  # half a minute, handwritten digits, no download
python recipes/nats_train.py --data cifar10 --architecture "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
accelerate launch recipes/nats_train.py --preset paper --data cifar10 --table tss.parquet

Without --architecture it is the cell with the best accuracy on CIFAR-10 that the benchmark knows. model/ holds the trained
classifier, and misclassified.json what it gets wrong. Several cells: cnas sweep recipes/grids/five_cells.yaml
"""  # noqa: E501 - a command that can be copied

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nats_cl

from cnas.cli import launch
from cnas.data.images import ImageConfig
from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.spaces import NatsNetworkSizes

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
"""The cell with the best test accuracy on CIFAR-10, 94.37 % (number 6,111 of NATS-Bench)."""


def paper() -> RunConfig:
    """The benchmark's own training (Dong et al. 2021, Table 2): C = 16, N = 5, 200 epochs."""
    return replace(
        nats_cl.paper(),
        recipe="nats_train",
        data="digits",
        architecture=BEST,
        curriculum=None,
        retrain=nats_cl.training(epochs=200),
    )


def cpu() -> RunConfig:
    """One cell a stage and a few epochs of five thousand images: minutes on one core.

    The batch is a quarter of the benchmark's: with the whole one, so few epochs would have too few steps.
    """
    whole = paper()
    return replace(
        whole,
        preset="cpu",
        images=ImageConfig(train_images=5000, valid_images=1000),
        retrain=replace(whole.retrain, num_train_epochs=6, global_batch_size=64),
        network=NatsNetworkSizes(channels=16, cells=1),
    )


def smoke() -> RunConfig:
    """Everything once, within half a minute."""
    whole = cpu()
    return replace(
        whole,
        preset="smoke",
        images=ImageConfig(train_images=512, valid_images=128, test_images=256),
        retrain=replace(whole.retrain, num_train_epochs=3),
        network=NatsNetworkSizes(channels=8, cells=1),
    )


PRESETS = {preset.__name__: preset for preset in (smoke, cpu, paper)}


def parse(argv: Sequence[str]) -> tuple[RunConfig, Path, bool]:
    """(configuration, run folder, whether to resume) of a command line; `cnas sweep` asks for them.

    Raises:
        UserError: an unknown flag, a value that is not allowed, or there is no cell to train.
    """
    config, folder, resume = launch.parse(PRESETS, argv, "cpu")
    if config.architecture is None:
        raise UserError("--architecture must be a cell, got none; recipes/nats_cl.py searches for one")
    if not config.retrain.num_train_epochs:
        raise UserError("--retrain.num_train_epochs must be at least 1, got 0")
    return config, folder, resume


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the exit code (see `cnas.errors`)."""
    return launch.main(PRESETS, argv, own=parse)


if __name__ == "__main__":
    sys.exit(main())
