"""Table 2 of the paper: seven algorithms on NATS-Bench, each plain and with the curriculum, beside random cells.

python recipes/nats_table2.py --data cifar10 --table tss.parquet           # preset cpu, one seed
python recipes/nats_table2.py --data cifar10 --table tss.parquet --jobs 2  # two runs in work at once
python recipes/nats_table2.py --table tss.parquet --seeds 1 2 3            # mean ± std; finished runs are kept

Every run has its folder below --output-dir. The same command goes on where it was stopped, and ends with the table.
The same runs on a cluster: cnas sweep recipes/grids/nats_table2.yaml --executor slurm
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nats_cl

from cnas.cli import exit_code
from cnas.config import OneLineParser
from cnas.errors import UserError
from cnas.run_config import RunConfig
from cnas.sweep import Plan, Rows, run_many


def _rows(preset: Callable[[str], RunConfig]) -> Rows:
    """Every algorithm plain and with the curriculum: images, supernet, epochs are those of ``preset`` for all."""
    rows: Rows = {}
    for name in nats_cl.NAMES:
        config = replace(preset(name), recipe="nats_table2")
        rows |= {name: replace(config, curriculum=None), f"{name}-cl": config}
    return rows


def paper() -> Rows:
    """The published searches."""
    return _rows(nats_cl.paper)


def cpu() -> Rows:
    """A small supernet on four thousand images."""
    return _rows(nats_cl.cpu)


def smoke() -> Rows:
    """Every row once, on some hundred images; the found cells are not trained."""
    rows = _rows(nats_cl.smoke)
    return {name: replace(config, retrain=replace(config.retrain, epochs=0)) for name, config in rows.items()}


PRESETS = {"smoke": smoke, "cpu": cpu, "paper": paper}


def parse(argv: Sequence[str]) -> tuple[Plan, Path, int]:
    """(plan, folder, runs at once) of a command line.

    Raises:
        UserError: an unknown flag, or a value that is not allowed.
    """
    parser = OneLineParser(
        description=textwrap.dedent(__doc__ or ""), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=PRESETS, default="cpu", help="of all runs (default: cpu)")
    parser.add_argument("--data", metavar="NAME_OR_PATH", help="as in the other recipes (default: of the preset)")
    parser.add_argument("--table", metavar="FILE", help="accuracies of all architectures, see cnas table build")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], metavar="N", help="(default: 1)")
    parser.add_argument("--random", type=int, default=3, metavar="N", help="random cells of each seed (default: 3)")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="runs in work at once (default: 1)")
    parser.add_argument("--output-dir", metavar="DIR", help="(default: runs/nats_table2-<preset>)")
    given = parser.parse_args(list(argv))
    for name, value in (("--random", given.random), ("--seeds", min(given.seeds))):
        if value < 0:
            raise UserError(f"{name} must be at least 0, got {value}")
    if given.jobs < 1:
        raise UserError(f"--jobs must be at least 1, got {given.jobs}")
    told: dict[str, Any] = {name: value for name in ("data", "table") if (value := getattr(given, name)) is not None}
    rows = {
        name: replace(config, options=replace(config.options, **told))
        for name, config in PRESETS[given.preset]().items()
    }
    home = Path(given.output_dir or f"runs/nats_table2-{given.preset}")
    return Plan(rows, tuple(dict.fromkeys(given.seeds)), given.random), home, given.jobs


def run_table(plan: Plan, home: Path, at_once: int) -> int:
    """Do all runs that are not finished; returns 0.

    Args:
        plan: the runs.
        home: the folder of their folders.
        at_once: how many are in work at the same time.

    Raises:
        UserError, StorageError, Stopped: as `cnas.sweep.run_many`.
    """
    run_many(plan.jobs(), home, at_once=at_once)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the table; returns the exit code (see `cnas.errors`)."""
    return exit_code(lambda: run_table(*parse(sys.argv[1:] if argv is None else argv)))


if __name__ == "__main__":
    sys.exit(main())
