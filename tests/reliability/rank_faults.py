"""The tiny recipe of which process 1 does something in its eighth step that no process should.

Run as a program, it is what `torchrun` starts: ``rank_faults.py HOME FAULT [flags of the recipe]``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import launching
from torch import Tensor

from cnas.training.loop import AccelerateLoop
from cnas.training.saving import PhaseCheckpoints

STEP = 8
NOTHING = "nothing"


def killed(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def raising(_: Any) -> None:
    raise AttributeError("a mistake of process 1")


def leaving(_: Any) -> None:
    os._exit(0)


def stuck(_: Any) -> None:
    time.sleep(3600)


def flipped(loop: AccelerateLoop) -> None:
    """The last bit of one weight."""
    weights: Tensor = next(loop.model.parameters()).data.view(-1)
    weights[0] = weights[0].nextafter(weights[0].new_tensor(9.0))


LATE = "late"
"""Process 1 takes its time before it looks for checkpoints; the others have begun by then."""


FAULTS: dict[str, Callable[[Any], None]] = {each.__name__: each for each in (killed, raising, leaving, stuck, flipped)}


def run(home: Path, name: str, argv: Sequence[str]) -> int:
    """The recipe in ``home``; `NOTHING` happens, or one of `FAULTS` before step 8 of process 1."""
    if name in FAULTS and os.environ["RANK"] == "1":
        original = AccelerateLoop.weight_step

        def weight_step(loop: AccelerateLoop, *args: Any) -> bool:
            if loop.progress.step + 1 == STEP:
                FAULTS[name](loop)
            return original(loop, *args)

        AccelerateLoop.weight_step = weight_step  # type: ignore[method-assign]
    if name == LATE and os.environ["RANK"] == "1":
        look = PhaseCheckpoints.load_newest

        def load_newest(checkpoints: PhaseCheckpoints) -> dict[str, Any] | None:
            time.sleep(1.0)
            return look(checkpoints)

        PhaseCheckpoints.load_newest = load_newest  # type: ignore[method-assign]
    return launching.recipe(argv, home)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
