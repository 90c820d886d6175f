"""The demo: the same search with and without the curriculum, and what came of both, in the terminal."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cnas.cli.main import exit_code
from cnas.errors import UserError
from cnas.runs.flags import OneLineParser
from cnas.runs.result import RunResult
from cnas.training.context import StopSignal
from cnas.training.time_limit import process_started

COMMAND = ("-m", "cnas", "search")
FLAGS = ("--preset", "ptb_cl_enas/smoke", "--data", "pydoc", "--seed", "1", "--resume")
RUNS: dict[str, tuple[str, ...]] = {"demo-curriculum": (), "demo-plain": ("--no-curriculum",)}
"""The folder of each run and the flags in which they differ; the first is the one with the curriculum."""


def main(command: Sequence[str] = COMMAND, home: Path = Path("runs"), argv: Sequence[str] = ()) -> int:
    """Make both runs and print what they found; returns the exit code of the first that fails, or 0.

    Args:
        command: what Python is given before the flags of a run.
        home: the folder of both run folders.
        argv: the command line of the demo.
    """
    parser = OneLineParser(description="Search a cell with and without the curriculum, train both, compare them.")
    parser.add_argument("--stop-after", metavar="TIME", help="save and leave then, e.g. 90s, 9m or 1.5h")
    return exit_code(lambda: _run(command, home, StopSignal(parser.parse_args(argv).stop_after, process_started())))


def _run(command: Sequence[str], home: Path, stop: StopSignal) -> int:
    """Both runs within the time that there is."""
    folders = [home / name for name in RUNS]
    for folder, flags in zip(folders, RUNS.values(), strict=True):
        print(f"\n--- {folder}", flush=True)
        rest = max(0.01, stop.deadline - time.monotonic())
        limit = [] if rest == math.inf else [f"--stop-after={rest:.2f}s"]
        code = _wait(subprocess.Popen([sys.executable, *command, *FLAGS, *flags, *limit, "--output-dir", folder]))
        if code:
            if code == UserError.exit_code:
                print(f"to start the demo anew, delete {folder}", file=sys.stderr)
            return code
    print(f"\n{side_by_side(*folders)}")
    return 0


def _wait(program: subprocess.Popen[bytes]) -> int:
    """The exit code; on Ctrl-C, which the run has got too, it is given the time to save."""
    while True:
        try:
            return program.wait()
        except KeyboardInterrupt:
            continue


def side_by_side(curriculum: Path, plain: Path) -> str:
    """The cell found with the curriculum, the perplexities with and without it, three lines, the model card.

    Args:
        curriculum: a finished run folder.
        plain: the run folder of the same search without a curriculum.
    """
    found, other = (RunResult.load(folder) for folder in (curriculum, plain))
    candidates = found.curriculum.k if found.curriculum else 0
    return "\n".join(
        [
            f"Cell found with the curriculum: {found.architecture.string}",
            "",
            (curriculum / "cell.txt").read_text("utf-8").rstrip("\n"),
            "",
            f"Perplexity per word on {found.dataset.name}, seed {found.seed}",
            f"{'':24}{'valid':>8}{'test':>9}",
            _row(f"curriculum, K = {candidates}", found),
            _row("no curriculum", other),
            "One seed of a smoke run proves nothing: which of the two is ahead is a matter of chance at this size.",
            "",
            "Three lines by the model found with the curriculum",
            *(f"  {line}" for line in (curriculum / "samples.txt").read_text("utf-8").splitlines()[:3]),
            "",
            f"Model card: {curriculum / 'README.md'}",
        ]
    )


def _row(label: str, result: RunResult) -> str:
    valid, test = (result.metrics(split).get("perplexity", float("nan")) for split in ("valid", "test"))
    return f"  {label:22}{valid:8.2f} {test:8.2f}"
