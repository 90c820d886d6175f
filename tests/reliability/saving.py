"""Saves for tests that break them: every tensor of a step is that step's number."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from cnas.training import checkpoint

HASH = "0123abcd"


def state(step: int, size: int = 64) -> dict[str, Any]:
    return {"weights": torch.full((size,), float(step)), "optimizer": {0: {"step": step, "lr": 0.1}}, "best": None}


def save(root: Path, step: int, keep: int = 2, size: int = 64) -> Path:
    return checkpoint.save(root, step, state(step, size), config_hash=HASH, keep=keep)


def newest(root: Path) -> checkpoint.Loaded:
    """The newest whole checkpoint, which must hold what was saved at its step."""
    loaded = checkpoint.load_newest(root, config_hash=HASH)
    assert loaded is not None, f"nothing is left in {root}"
    weights = loaded.state.pop("weights")
    assert weights.tolist() == [float(loaded.step)] * len(weights)
    assert loaded.state == {"optimizer": {0: {"step": loaded.step, "lr": 0.1}}, "best": None}
    return loaded


def save_second(root: Path) -> None:
    save(root, 2)


def save_third(root: Path) -> None:
    """The first goes."""
    save(root, 3)


def save_second_again(root: Path) -> None:
    checkpoint.save(root, 2, state(2) | {"best": None}, config_hash=HASH, keep=1)


def save_and_go_on(root: Path) -> None:
    """What a run does after a kill."""
    save(root, 4)
    save(root, 5)


def bug_the_old_one_goes_first(root: Path) -> None:
    shutil.rmtree(root / "step-1")
    save(root, 2, keep=1)


def bug_written_in_place(root: Path) -> None:
    """A save over the one before, in its folder."""
    files = checkpoint._contents(1, state(1, size=32), HASH, {})
    for name, data in files.items():
        (root / "step-1" / name).write_bytes(data)
        with (root / "step-1" / name).open("rb") as file:
            os.fsync(file.fileno())
