"""Runs of the tiny recipe in processes of their own, which may be killed, or share a run.

They are forked from a server that has imported `cnas` already: a start takes milliseconds instead of seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny_recipe

CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = ["cnas.cli.launch", "cnas.spaces", "cnas.algorithms", "tensorboard", "cnas.hub.cell"]
"""None of them asks for a device, and nobody else runs in the server: what has met one must not fork."""
CONTEXT.set_forkserver_preload(PRELOADED)
SAVING = ("--trainer.save-steps", "5", "--retrain.save-steps", "5")
"""Flags of a run with checkpoints amid its epochs."""
NAN = 0
"""In place of a signal's number: the weights become NaN."""
NOBODY = "zoe-the-canary"
"""The user who runs everything here."""
SECONDS = 300.0
"""Against hanging: a tiny run takes seconds, and a busy machine several times as long."""


@dataclass(frozen=True)
class Fault:
    """Send ``number`` to the process right before, or after, the ``count``-th call of ``event``.

    A number below zero is no signal: it makes the call fail as the disk would, with that error number.
    """

    event: str
    count: int
    number: int = signal.SIGKILL
    after: bool = False
    rank: str = "0"


@dataclass(frozen=True)
class Ended:
    """What a process left: a negative ``code`` is the signal that killed it."""

    code: int | None
    out: str
    err: str


class Launched:
    """A function in a process of its own, its output in files."""

    def __init__(self, folder: Path, run: Callable[..., int], *args: Any, env: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.files = [folder / f"out-{len([*folder.iterdir()])}", folder / f"err-{len([*folder.iterdir()])}"]
        for file in self.files:
            file.touch()
        self.process = CONTEXT.Process(target=_child, args=(self.files, dict(env or {}), run, args), daemon=True)
        self.process.start()

    def wait(self, seconds: float = SECONDS) -> Ended:
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        return Ended(self.process.exitcode, *(file.read_text("utf-8") for file in self.files))


def _child(files: Sequence[Path], env: Mapping[str, str], run: Callable[..., int], args: Sequence[Any]) -> None:
    os.environ.update(env)
    # Ctrl-C is heard as in a terminal; whatever runs the tests in the background may have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in zip((1, 2), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), number)
    sys.exit(run(*args))


def recipe(
    argv: Sequence[str], home: Path, fault: Fault | None = None, main: Callable[..., int] = tiny_recipe.main
) -> int:
    """The tiny recipe, or another command, in the folder ``home``, with a fault to come."""
    os.chdir(home)
    if fault is not None and fault.rank == os.environ.get("RANK", "0"):
        _arm(fault)
    return main(argv)


def launch(home: Path, *argv: str, fault: Fault | None = None) -> Launched:
    """Start the tiny recipe; ``home`` holds its corpus."""
    return Launched(home / "output", recipe, argv, home, fault, env={"LOGNAME": NOBODY, "USER": NOBODY})


def launch_ranks(home: Path, world: int, run: Callable[..., int], *args: Any) -> list[Launched]:
    """Start ``world`` processes that find one another the way `torchrun` tells them to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]
    return [Launched(home / f"rank-{rank['RANK']}", run, *args, env=common | rank) for rank in ranks]


def _arm(fault: Fault) -> None:
    owner, name = events()[fault.event]
    original, calls = getattr(owner, name), 0

    def patched(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == fault.count and not fault.after:
            _strike(fault.number, args)
        result = original(*args, **kwargs)
        if calls == fault.count and fault.after:
            _strike(fault.number, args)
        return result

    setattr(owner, name, patched)


def _strike(number: int, args: Sequence[Any]) -> None:
    if number < 0:
        raise OSError(-number, os.strerror(-number))
    if number == NAN:
        for parameter in args[0].model.parameters():
            parameter.data.fill_(float("nan"))
    else:
        os.kill(os.getpid(), number)


def events() -> dict[str, tuple[Any, str]]:
    """What a fault can wait for."""
    import cnas.runs.text
    import cnas.trainer
    from cnas import durable
    from cnas.algorithms import ENAS
    from cnas.curricula import Curriculum
    from cnas.runs.folder import RunFolder
    from cnas.training import checkpoint
    from cnas.training.loop import AccelerateLoop
    from cnas.training.metrics_log import MetricsLog
    from cnas.training.scoring import Scorer
    from cnas.training.search import SearchLoop

    return {
        "step": (AccelerateLoop, "weight_step"),
        "row": (MetricsLog, "append"),
        "save": (checkpoint, "save"),
        "reward": (Scorer, "validation"),
        "judging": (Scorer, "batch_losses"),
        "json": (RunFolder, "write_json"),
        "export": (cnas.runs.text, "export_run"),
        "sync": (os, "fsync"),
        "rename": (Path, "rename"),
        "file": (durable, "write_file"),
        "weighing": (Curriculum, "update"),
        "data": (cnas.trainer, "load_task"),
        "derive": (ENAS, "derive"),
        "arch": (SearchLoop, "_arch_step"),
    }
