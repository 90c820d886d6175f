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


if __name__ == "__main__":
    if torch.accelerator.is_available():
        print(check(Path(sys.argv[1]), torch.accelerator.current_accelerator().type))
    else:
        print("none")
