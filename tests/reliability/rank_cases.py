"""Searches that several processes share, at their smallest: what each process of a launch does.

Every process does every job; the main one keeps the numbers. Legend: B rows of the global batch, b of one process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from builders import build_space, build_trainer, fits
from launching import launch_ranks
from process_cases import numbers

from cnas.curricula import Uncertainty
from cnas.training import RunContext, SearchLoop
from cnas.training.distributed import digests

ALGORITHMS = ("enas", "rsps", "darts_v1", "darts_v2", "gdas", "setn", "spos", "sandwich", "pareto")
TEXT_SPACES, UNITS, REFRESHES = ("enas_rnn", "darts_rnn"), ("sequence", "token"), ("epoch", "step")
SPACES = (*TEXT_SPACES, "nats", "gpt")
SECONDS = 3000.0
"""Of one launch, against hanging."""


@dataclass(frozen=True)
class Cell:
    """One search: 5 rows a batch, so that no number of processes but 1 and 5 has equal shares."""

    algorithm: str
    space: str
    refresh: str
    unit: str
    dtype: str = "float64"
    epochs: int = 2

    @property
    def name(self) -> str:
        return f"{self.algorithm}-{self.space}-{self.refresh}-{self.unit}-{self.dtype}-{self.epochs}"

    def trainer(self, context: RunContext) -> SearchLoop:
        """At its beginning; 6 steps an epoch, images end in a batch of 3; 7 where chunks are packed, 1 in the last."""
        dtype = {"float64": torch.float64, "float32": torch.float32}[self.dtype]
        trainer = build_trainer(
            context,
            Uncertainty(num_candidates=3, refresh=self.refresh, unit=self.unit),  # type: ignore[arg-type]
            space=build_space(self.space),
            algorithm=self.algorithm,
            dtype=dtype,
            num_train_epochs=self.epochs,
            learning_rate=0.1,
            global_batch_size=5,
            eval_batch_size=5,
        )
        assert trainer.curriculum is not None
        trainer.curriculum.state["v"] = trainer.curriculum.v.to(dtype)
        return trainer


def units_of(space: str) -> Sequence[str]:
    return ("sample",) if space == "nats" else UNITS


ALL_CELLS = [
    Cell(algorithm, space, refresh, unit)
    for algorithm, space in product(ALGORITHMS, SPACES)
    if fits(algorithm, space)
    for refresh, unit in product(REFRESHES, units_of(space))
]
SOME_CELLS = [
    Cell(algorithm, space, REFRESHES[(row + column) % 2], units_of(space)[(row // 2 + column) % len(units_of(space))])
    for row, algorithm in enumerate(ALGORITHMS)
    for column, space in enumerate(SPACES)
    if fits(algorithm, space)
]
"""Every algorithm on every space that it can search; refresh and unit take turns."""


def start(world: int) -> Accelerator:
    """The accelerator of this process, and the proof that there are ``world`` of them."""
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    assert accelerator.num_processes == world == int(os.environ["WORLD_SIZE"])
    if world > 1:
        assert torch.distributed.get_backend() == "gloo"
        assert torch.distributed.get_world_size() == world
    return accelerator


def train_cells(out: Path, world: int, cells: Sequence[Cell]) -> int:
    """Train every cell to its end; afterwards the processes are compared with one another."""
    accelerator = start(world)
    results = {}
    for cell in cells:
        trainer = trained(cell, accelerator, out / cell.name)
        results[cell.name] = numbers(trainer)
        prints = json.dumps(dict(digests(trainer.state())))
        (out / f"{cell.name}-{accelerator.process_index}.json").write_text(prints, "utf-8")
    if accelerator.is_main_process:
        torch.save(results, out / "results.pt")
    accelerator.end_training()
    return 0


def trained(cell: Cell, accelerator: Accelerator, folder: Path) -> SearchLoop:
    """A finished search whose processes were compared at every epoch's end."""
    folder.mkdir(parents=True, exist_ok=True)
    context = RunContext(accelerator, folder, 1, "same", check_ranks=10**9)
    trainer = cell.trainer(context)
    trainer.train()
    return trainer


def launched(out: Path, world: int, run: Any, *args: Any, codes: Sequence[int] | None = None) -> Path:
    """``run(out, world, *args)`` on ``world`` processes; ``out`` afterwards."""
    out.mkdir(parents=True, exist_ok=True)
    ended = [rank.wait(SECONDS) for rank in launch_ranks(out, world, run, out, world, *args)]
    assert [each.code for each in ended] == list(codes or [0] * world), "\n".join(each.err[-3000:] for each in ended)
    return out


def at(cell: Cell, **changes: Any) -> Cell:
    return replace(cell, **changes)


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference between equal places, relative to values above 1; NaN where one is."""
    assert one.keys() == other.keys()
    assert len(one) > 10
    # A maximum of torch, unlike one of Python, is NaN where anything is.
    apart = [((one[name] - other[name]).abs() / one[name].abs().clamp_min(1)).max() for name in one]
    return float(torch.stack(apart).max())
