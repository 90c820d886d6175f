"""Does a change leave every number as it was, to the bit?

Runs fourteen short searches and trainings with the package of a commit and with that of the working tree, on one thread
of this machine, and compares losses, v, weights and architectures:

    python tests/trajectories/compare.py main~3
    python tests/trajectories/compare.py v0.1.0 --relative 1e-5   # a commit that is meant to move the last digits
    python tests/trajectories/compare.py --write                  # the numbers that `make test` compares loosely
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cases import TRAJECTORIES
from trajectory import first_difference, trajectory

ROOT = Path(__file__).parents[2]
WRITTEN = Path(__file__).with_name("trajectories.json")


def run(tree: Path, home: Path, name: str) -> dict[str, Any]:
    """One trajectory with the recipes and the package of ``tree``, in a new folder below ``home``."""
    recipe, *flags = TRAJECTORIES[name]
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tree / recipe), *flags, "--output-dir", f"{tree.name}/{name}"]
    ended = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{name} of {tree} ended with {ended.returncode}: {ended.stderr[-500:]}")
    return trajectory(home / tree.name / name)


def compare(base: Path, home: Path, relative: float) -> int:
    """How many of the trajectories differ."""
    different = 0
    for name, (recipe, *_) in TRAJECTORIES.items():
        if not (base / recipe).exists():
            print(f"{name}: {recipe} is not there", flush=True)
            continue
        problem = first_difference(run(base, home, name), run(ROOT, home, name), relative)
        different += problem is not None
        print(f"{name}: {problem or 'equal'}", flush=True)
    return different


def written() -> dict[str, Any]:
    """The trajectories as they were written, losses and architectures to read."""
    found: dict[str, Any] = json.loads(WRITTEN.read_text("utf-8"))
    return found


def readable(found: dict[str, Any]) -> dict[str, Any]:
    """What of a trajectory another machine agrees with, nearly: the losses of the first epochs."""
    keys = ("phase", "epoch", "step", "train_loss", "valid_loss", "weight_min", "weight_max")
    return {"rows": [{key: row[key] for key in keys if key in row} for row in found["rows"][:2]]}


def main() -> int:
    """Returns 1 where a trajectory differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="COMMIT", nargs="?", help="what the working tree is compared with")
    parser.add_argument("--relative", type=float, default=0.0, help="largest relative difference (0: equal bits)")
    parser.add_argument("--write", action="store_true", help=f"write {WRITTEN.name} anew instead")
    wanted = parser.parse_args()
    if wanted.write == (wanted.base is not None):
        parser.error("one of COMMIT and --write is needed")
    sys.path.append(str(Path(__file__).parents[1]))
    from tiny_recipe import write_corpus

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_corpus(home / "corpus")
        if wanted.write:
            rows = {name: readable(run(ROOT, home, name)) for name in TRAJECTORIES}
            WRITTEN.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
            return 0
        base = home / "base"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(base), wanted.base], check=True)
        try:
            return int(compare(base, home, wanted.relative) > 0)
        finally:
            subprocess.run([*git, "remove", "--force", str(base)], check=True)


if __name__ == "__main__":
    sys.exit(main())
