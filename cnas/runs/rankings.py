"""Score a benchmark's fixed set of architectures with shared weights, as often as was asked for, a file for each time.

A pass that is stopped has saved what it has scored, and goes on from there; it changes nothing of the search.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnas.algorithms.base import GROUP
from cnas.data.base import OrderedBatches
from cnas.durable import storage_errors
from cnas.errors import UserError
from cnas.runs.folder import RunFolder
from cnas.spaces.base import SearchSpace
from cnas.training.search import SearchLoop

FOLDER = "rankings"
ARCHITECTURES = f"{FOLDER}/architectures.json"
CHUNK = 100
"""So many architectures are scored between two saves."""


@dataclass(frozen=True)
class Rated:
    """What a supernet gave to the architectures of a benchmark's fixed set.

    Args:
        epoch: how many epochs were over.
        scoring: see `cnas.spaces.base.SuperNet.scorings`.
        losses: in nats, by architecture; infinite where it was no number.
    """

    epoch: int
    scoring: str
    losses: Mapping[str, float]


@dataclass(frozen=True)
class Ranker:
    """Scores a fixed set of architectures after some epochs of a search, and always after the last one.

    Where it does so after some, it does before the first one as well: what the ranking of weights that have learned
    nothing is worth.

    Args:
        space: of the architectures.
        architectures: their strings.
        batches: what they are scored on.
        index: of the one batch that is used; None uses all.
        home: of the run.
        every: so many epochs lie between two passes; None leaves the last one alone.
    """

    space: SearchSpace
    architectures: tuple[str, ...]
    batches: OrderedBatches
    index: int | None
    home: RunFolder
    every: int | None

    def after_epoch(self, loop: SearchLoop, epoch: int, last: bool) -> None:
        """Score the architectures, if it is time.

        Args:
            loop: the search.
            epoch: how many epochs are over; 0 before the first.
            last: whether no more follow.

        Raises:
            Stopped: a signal asked for it.
            StorageError: the disk refuses.
        """
        if not (last or (self.every is not None and epoch % self.every == 0)):
            return
        if loop.context.accelerator.is_main_process:
            self.forget(after=epoch)  # those of an attempt that was given up
        file, step = f"{FOLDER}/epoch-{epoch:04d}.json", loop.progress.step
        found = self.home.read_json(file) or {}
        if found.get("step") != step:  # of such an attempt at this epoch
            found = {"epoch": epoch, "step": step, "scorings": {}}
        for scoring in loop.parts.supernet.scorings:
            passed = found["scorings"].setdefault(scoring, {"losses": [], "seconds": 0.0})
            while (done := len(passed["losses"])) < len(self.architectures):
                start = time.perf_counter()
                passed["losses"] += self._score(loop, scoring, done)
                passed["seconds"] += time.perf_counter() - start
                if loop.context.accelerator.is_main_process:
                    self._write(file, found)

    def forget(self, after: int | None = None) -> None:
        """Drop what an earlier search in this folder has left, or rankings of later epochs alone.

        Args:
            after: the epoch after which they are dropped; None drops all, since a new search begins.

        Raises:
            StorageError: the disk refuses.
        """
        old = [path for path in _rankings(self.home.path) if after is None or _epoch(path) > after]
        for path in old if after is not None else [*old, self.home.path / ARCHITECTURES]:
            with storage_errors(str(path)):
                path.unlink(missing_ok=True)

    def _score(self, loop: SearchLoop, scoring: str, start: int) -> list[float]:
        losses: list[float] = []
        chunk = [self.space.parse(text) for text in self.architectures[start : start + CHUNK]]
        with loop.parts.supernet.scored_by(scoring):
            for first in range(0, len(chunk), GROUP):
                loop.between()
                losses += loop.scorer.validation(chunk[first : first + GROUP], self.batches, self.index).tolist()
        return losses

    def _write(self, file: str, found: dict[str, Any]) -> None:
        (self.home.path / FOLDER).mkdir(parents=True, exist_ok=True)
        if self.home.read_json(ARCHITECTURES) is None:
            self.home.write_json(ARCHITECTURES, {"architectures": list(self.architectures)})
        self.home.write_json(file, found)


def known_losses(losses: Mapping[str, float | None]) -> dict[str, float]:
    """Losses as a file has them, where null is a loss that was no number: worse than all others.

    Args:
        losses: by architecture.
    """
    return {name: math.inf if loss is None else float(loss) for name, loss in losses.items()}


def load_rankings(folder: Path) -> list[Rated]:
    """The complete rankings of a run, the oldest first; none where it was given no table.

    Args:
        folder: of the run.

    Raises:
        UserError: a file is not what a run writes.
    """
    home = RunFolder(folder)
    names = (home.read_json(ARCHITECTURES) or {}).get("architectures", [])
    found = []
    for path in _rankings(folder):
        values = home.read_json(f"{FOLDER}/{path.name}") or {}
        try:
            passes = [(scoring, passed["losses"]) for scoring, passed in values["scorings"].items()]
            for scoring, scores in passes:
                if len(scores) == len(names):
                    found.append(Rated(values["epoch"], scoring, known_losses(dict(zip(names, scores, strict=True)))))
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            raise UserError(f"{path} is not what a run writes: {type(problem).__name__}: {problem}") from problem
    return found


def _rankings(folder: Path) -> list[Path]:
    """The files of a run, the oldest first."""
    return sorted((path for path in (folder / FOLDER).glob("epoch-*.json") if path.stem[6:].isdecimal()), key=_epoch)


def _epoch(path: Path) -> int:
    return int(path.stem[6:])
