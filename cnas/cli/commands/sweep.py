"""Do all runs of a grid file, each in a process and a folder of its own, and compare them.

cnas sweep recipes/grids/seeds.yaml --dry-run                    # which runs there would be
cnas sweep recipes/grids/seeds.yaml --jobs 2                     # two at once on this machine
cnas sweep recipes/grids/seeds.yaml --executor slurm --jobs 20   # at most 20 in the queue

The same command again skips what is finished and goes on with what was broken off, whatever ran it before. SIGTERM,
SIGINT and the end of --stop-after make the runs save, and the command ends with code 75. It ends with the comparison of
all finished runs, which is written to table.md as well.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnas.sweeps import Grid


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas sweep`` takes."""
    parser.add_argument("grid", metavar="FILE", help="which runs: a recipe, its flags, lists of values (YAML)")
    about = "what runs the processes: local, ray or slurm (default: local)"
    parser.add_argument("--executor", default="local", metavar="NAME", help=about)
    about = "runs handed over at once (default: 1 on this machine, otherwise all)"
    parser.add_argument("--jobs", type=int, metavar="N", help=about)
    parser.add_argument("--output-dir", metavar="DIR", help="the folder of the run folders (default: runs/<grid>)")
    about = "make the runs save and leave so long after the command began, e.g. 90s, 9m or 1.5h"
    parser.add_argument("--stop-after", metavar="TIME", help=about)
    parser.add_argument("--dry-run", action="store_true", help="list the runs and start none")


def run(given: argparse.Namespace) -> str:
    """The comparison as Markdown; progress is printed on the way.

    Raises:
        UserError: the grid, a flag in it or the executor is wrong; raised before anything starts.
        Stopped, StorageError: as `cnas.sweeps.run_many`.
        UnfinishedError: some runs failed, or are running elsewhere.
    """
    from cnas.runs.folder import home_folder
    from cnas.sweeps import comparison, conclude, executors, read_grid, run_many
    from cnas.training.context import StopSignal
    from cnas.training.time_limit import process_started

    stop = StopSignal(given.stop_after, process_started())
    grid = read_grid(given.grid)
    how = executors.settings(given.executor, grid.executors.get(given.executor))
    home = home_folder(given.output_dir or f"runs/{Path(given.grid).stem}")
    if given.dry_run:
        return _list(grid, home)
    codes = run_many(grid.jobs, home, at_once=given.jobs, executor=how, stop=stop)
    return conclude(comparison(grid, home, codes), home, codes)


def _list(grid: Grid, home: Path) -> str:
    from cnas.reports.comparison.markdown import plain, table

    rows = [[plain(job.name), plain(job.about), _state(home / job.name)] for job in grid.jobs]
    return f"{table(['run', 'what', 'state'], rows)}\n\n{len(rows)} runs in {home}"


def _state(folder: Path) -> str:
    """Where a run is."""
    from cnas.runs.folder import RunFolder
    from cnas.runs.lock import holder

    home = RunFolder(folder)
    if (other := holder(folder)) is not None:
        return f"running, by {other}"
    if home.read_json("result.json") is not None:
        return "finished"
    return "begun" if home.read_json("config.json") is not None else "not begun"
