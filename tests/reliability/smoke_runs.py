"""Whole runs of a recipe's preset smoke at many seeds, in a folder that keeps what is finished.

    python tests/reliability/smoke_runs.py FOLDER --recipe ptb_cl_enas --seeds 1-50 --processes 2

Each run has one thread. Called again, it goes on with runs that were killed and leaves finished ones alone. The last
line counts the runs that did not end with 0 and those that had a bad step or went back.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVENTS = ("bad_steps", "recoveries")


@dataclass(frozen=True)
class Smoke:
    """How one run ended, and what its result counts."""

    recipe: str
    seed: int
    code: int
    events: int
    perplexity: float | None = None


def smoke(folder: Path, recipe: str, seed: int, flags: Sequence[str] = ()) -> Smoke:
    """Run one seed, or go on with it; its output is kept beside it."""
    run = folder / f"{recipe}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    argv = ["--preset", "smoke", "--seed", str(seed), "--output-dir", str(run), "--resume", *flags]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with (folder / f"{recipe}-{seed}.log").open("ab") as log:
        command = [sys.executable, str(ROOT / "recipes" / f"{recipe}.py"), *argv]
        code = subprocess.run(command, env=env, stdout=log, stderr=log, check=False).returncode
    if code:
        return Smoke(recipe, seed, code, 0)
    result = json.loads((run / "result.json").read_text("utf-8"))
    counts = [(result[phase] or {}).get(name, 0) for phase in ("search", "retrain") for name in EVENTS]
    return Smoke(recipe, seed, code, sum(counts), result["retrain"].get("valid_perplexity"))


def smokes(folder: Path, recipe: str, seeds: Sequence[int], processes: int = 2) -> list[Smoke]:
    """All of the seeds, a few at a time; each is told as it ends."""
    with ThreadPoolExecutor(processes) as pool:
        found = []
        for each in pool.map(lambda seed: smoke(folder, recipe, seed), seeds):
            print(each, flush=True)
            found.append(each)
    return found


def summary(found: Sequence[Smoke]) -> str:
    """How many there were, failed, and had events."""
    failed, events = ([each.seed for each in found if getattr(each, name)] for name in ("code", "events"))
    return f"{len(found)} runs of {found[0].recipe}: {len(failed)} failed {failed}, {len(events)} had events {events}"


def main() -> int:
    """The command line above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", default="ptb_cl_enas")
    parser.add_argument("--seeds", default="1-50", help="a range, or numbers with commas")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    first, dash, last = given.seeds.partition("-")
    seeds = list(range(int(first), int(last) + 1)) if dash else [int(seed) for seed in given.seeds.split(",")]
    found = smokes(given.folder, given.recipe, seeds, given.processes)
    print(summary(found))
    return int(any(each.code for each in found))


if __name__ == "__main__":
    sys.exit(main())
