"""Every algorithm on every space, trained on the accelerator of this machine; prints how many, or that there is none.

A program of its own: what runs the tests never meets a device.
"""

import itertools
import math
import sys
from pathlib import Path

import torch
from builders import build_session, build_space, build_trainer, rows

from cnas import algorithms, spaces
from cnas.curricula import Uncertainty
from cnas.data import Augment, ChannelStatistics, ImageBatches, ImageSet


def check(folder: Path, device: str) -> int:
    """Raises where a search is not on the device or not finite; returns how many there were."""
    pairs = [*itertools.product(algorithms.names(), spaces.names())]
    for place, (algorithm, name) in enumerate(pairs):
        context, space = build_session(folder / str(place)), build_space(name)
        unit = "sample" if hasattr(space, "classes") else "token"
        judged = Uncertainty(num_candidates=2, unit=unit, refresh="step")
        trainer = build_trainer(context, judged, space=space, algorithm=algorithm, num_train_epochs=2)
        found = trainer.train().architecture
        assert space.parse(found.to_str()) == found
        assert {parameter.device.type for parameter in trainer.model.parameters()} == {device}, (algorithm, name)
        assert all(math.isfinite(row["train_loss"]) for row in rows(context.folder)), (algorithm, name)
    return len(pairs)


def check_images(device: torch.device) -> None:
    """Raises where a batch that is augmented on the device is not, to the bit, that of host memory."""
    draws = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (64, 3, 32, 32), generator=draws, dtype=torch.uint8)
    statistics = ChannelStatistics.of_bytes((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))
    options = {"seed": 1, "stream": "train", "statistics": statistics, "augment": Augment(cutout=8), "shuffle": True}
    batches = ImageBatches(ImageSet(pixels, torch.arange(64) % 10), 32, **options)
    for index in range(len(batches)):
        here, there = (each.batch(index, slice(0, 32)) for each in (batches, batches.to(device)))
        for name in ("inputs", "labels", "unit_ids"):
            assert getattr(there, name).device.type == device.type
            assert torch.equal(getattr(there, name).to(here.inputs.device), getattr(here, name)), name


if __name__ == "__main__":
    if torch.accelerator.is_available():
        found = torch.accelerator.current_accelerator()
        check_images(found)
        print(check(Path(sys.argv[1]), found.type))
    else:
        print("none")
