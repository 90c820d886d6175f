"""Comparison of the runs of a sweep, from their folders alone, whichever executor ran them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cnas.durable import replace_file
from cnas.errors import CnasError
from cnas.reports.comparison import FinishedRun, group_runs, load_run, render
from cnas.reports.comparison.groups import identity
from cnas.reports.comparison.markdown import plain
from cnas.sweeps.grid import Grid
from cnas.sweeps.many import Job, last_line

TABLE = "table.md"
"""The comparison, in the folder of the run folders."""


class UnfinishedError(CnasError):
    """Some runs failed or are to be gone on with; the others are finished.

    Args:
        codes: exit codes of all runs by name; that of the first one not finished becomes the exit code of the command.
    """

    def __init__(self, codes: Mapping[str, int]) -> None:
        rest = [name for name, code in codes.items() if code]
        super().__init__(f"{len(rest)} of {len(codes)} runs are not finished: {', '.join(rest)}")
        self.exit_code = next(code for code in codes.values() if code)


def comparison(grid: Grid, home: Path, codes: Mapping[str, int]) -> str:
    """The finished runs side by side, as Markdown; see `cnas.reports.comparison.render`.

    Args:
        grid: the runs there should be.
        home: the folder of their folders.
        codes: how each of them ended; 0 is finished.

    Raises:
        UserError: a folder does not hold what a finished run leaves.
    """
    searches, random = (_load(jobs, home, codes) for jobs in (grid.searches, grid.references))
    kept, repeated = _once([*searches, *random])
    groups = group_runs([run for run in searches if run in kept], [run for run in random if run in kept])
    lines = [f"- left out: {name}, the same experiment as {other}" for name, other in repeated.items()]
    return "\n".join(
        part for part in [render(groups) if groups else "", missing(grid.jobs, home, codes), *lines] if part
    )


def missing(jobs: Iterable[Job], home: Path, codes: Mapping[str, int]) -> str:
    """A line for every run that is not finished, with the last line of its output.

    Args:
        jobs: the runs there should be.
        home: the folder of their folders.
        codes: how each of them ended; 0 is finished.
    """
    return "\n".join(f"- missing: {job.name}, {plain(last_line(home / job.name))}" for job in jobs if codes[job.name])


def conclude(text: str, home: Path, codes: Mapping[str, int]) -> str:
    """Write a comparison beside the runs; returns what is to be printed.

    Args:
        text: the comparison, as Markdown.
        home: the folder of the run folders.
        codes: how each run ended; 0 is finished.

    Raises:
        StorageError: it cannot be written.
        UnfinishedError: some runs are not finished; the comparison of the others has been written, and printed.
    """
    file = home / TABLE
    replace_file(file, text.encode())
    message = f"\n{text}\nwritten to {file}"
    if any(codes.values()):
        print(message, flush=True)
        raise UnfinishedError(codes)
    return message


def _load(jobs: Sequence[Job], home: Path, codes: Mapping[str, int]) -> list[FinishedRun]:
    return [load_run(home / job.name) for job in jobs if codes[job.name] == 0]


def _once(runs: Sequence[FinishedRun]) -> tuple[list[FinishedRun], dict[str, str]]:
    """(runs that differ in what they measure, names of the others with the run they repeat).

    Configurations may differ where the experiment does not, e.g. in how often checkpoints are written.
    """
    found: dict[object, FinishedRun] = {}
    repeated: dict[str, str] = {}
    for run in runs:
        own = tuple(sorted(identity(run).items()))
        key = (own, run.result.seed, None if run.searched else run.result.architecture.string)
        if found.setdefault(key, run) is not run:
            repeated[run.name] = found[key].name
    return list(found.values()), repeated
