"""Curriculum search for an image classifier in the topology space of NATS-Bench.

python recipes/nats_cl.py --preset smoke                     # a minute, handwritten digits, no download
python recipes/nats_cl.py --algorithm gdas --data cifar10 --table tss.parquet
accelerate launch recipes/nats_cl.py --preset paper --data cifar10 --algorithm darts_v2 --no-curriculum

The found cell is looked up in the table; --retrain.num_train_epochs 20 trains it as well. The presets are the files of
cnas/presets/nats_cl; `cnas search --preset nats_cl/cpu` is the same.
"""

import sys

from cnas.cli.launch import main

RECIPE = "nats_cl"

if __name__ == "__main__":
    sys.exit(main(RECIPE))
