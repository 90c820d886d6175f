"""What ranking the fixed set of NATS-Bench costs beside a published RSPS search of 100 epochs, on 5,000 images.

    python tests/speed/rankings.py --table tss.parquet --data CIFAR_FOLDER

Some cells are ranked by both scorings and some steps are done, and both are scaled to all of them: processor time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from accelerate import Accelerator

from cnas.benchmarks import nats
from cnas.runs.config import RunConfig
from cnas.runs.folder import RunFolder
from cnas.runs.pipeline import search_loop
from cnas.runs.task import load_task
from cnas.training.context import RunContext

CELLS, STEPS = 20, 4
IMAGES, EPOCHS = 5_000, 100


def seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True)
    parser.add_argument("--data", required=True)
    given = parser.parse_args()
    config = replace(
        RunConfig.from_preset("nats_cl/paper", "rsps"), table=given.table, data=given.data, curriculum=None
    )
    images = replace(config.images, search_images=IMAGES, valid_images=IMAGES)
    every = nats.FIXED
    with tempfile.TemporaryDirectory() as folder, patch.object(nats, "FIXED", CELLS):
        home = Path(folder)
        task = load_task(replace(config, images=images))
        ranker, context = task.ranker(RunFolder(home)), RunContext(Accelerator(cpu=True), home, 1, "speed")
        assert ranker is not None
        loop = search_loop(task, context)
        ranking = seconds(lambda: ranker.after_epoch(loop, 1, last=True)) * every / CELLS
        search = (
            seconds(lambda: [loop.train_step(index) for index in range(STEPS)]) * len(loop.batches) * EPOCHS / STEPS
        )
    print(
        f"ranking {every:,} cells: {ranking:.0f} s; searching {EPOCHS} epochs: {search:.0f} s; {ranking / search:.2f}"
    )


if __name__ == "__main__":
    main()
