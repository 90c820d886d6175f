"""Training of one cell of NATS-Bench from new weights, as the benchmark trains its cells. Nothing is searched.

python recipes/nats_train.py --preset smoke                  # half a minute, handwritten digits, no download
python recipes/nats_train.py --data cifar10 --architecture "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
accelerate launch recipes/nats_train.py --preset paper --data cifar10 --table tss.parquet

Without --architecture it is the cell with the best accuracy on CIFAR-10 that the benchmark knows. model/ holds the trained
classifier, and misclassified.json what it gets wrong. Several cells: cnas sweep recipes/grids/five_cells.yaml
"""  # noqa: E501 - a command that can be copied

import sys

from cnas.cli.launch import main
from cnas.errors import UserError
from cnas.runs.config import RunConfig

RECIPE = "nats_train"


def check(config: RunConfig) -> None:
    """Raise a `UserError` where there is no cell to train."""
    if config.architecture is None:
        raise UserError("--architecture must be a cell, got none; recipes/nats_cl.py searches for one")
    if not config.retrain.num_train_epochs:
        raise UserError("--retrain.num_train_epochs must be at least 1, got 0")


if __name__ == "__main__":
    sys.exit(main(RECIPE, check=check))
