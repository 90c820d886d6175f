"""The report on runs: from their folders to ``report.html`` and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cnas.errors import UserError
from cnas.reports.page import render
from cnas.reports.record import read_run
from cnas.reports.seeds import compare_records
from cnas.reports.weights import sample_weights
from cnas.runs.folder import refuse_links
from cnas.runs.result import RunResult
from cnas.runs.task import Task


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write a report on one run, or on several side by side; returns the path of ``report.html``.

    The page needs nothing beside it: no script, no other file, no network. Its figures also go into ``figures/``, as
    PNG and SVG. Parts for which a run has nothing are left out; of texts that are out of reach the page says so.

    Args:
        runs: run folders; they may be unfinished.
        out: the folder to write to, made if it is not there. By default that of the run itself, or ``report/`` beside
            the first one where there are several.

    Raises:
        UserError: there is no run, one of them is none, or one of its files is broken.
        StorageError: the disk refuses.
    """
    if not runs:
        raise UserError("runs must name at least one run folder, got none")
    folders = [Path(run) for run in runs]
    target = out or (folders[0] if len(folders) == 1 else folders[0].parent / "report")
    if target.exists() and not target.is_dir():
        raise UserError(f"out {str(target)[:80]!r} must be a folder, got a file")
    refuse_links(target)
    records = [read_run(folder) for folder in folders]
    page = render(records, [sample_weights(record) for record in records], compare_records(records))
    return page.save(target)


def report_run(folder: Path, result: RunResult, task: Task) -> Path:
    """Write the report of a run that is about to be finished into its own folder.

    Args:
        folder: of the run.
        result: what ``result.json`` will hold.
        task: the data of the run.

    Raises:
        UserError: a file of the folder is broken.
        StorageError: the disk refuses.
    """
    record = replace(read_run(folder), result=result)
    return render([record], [sample_weights(record, task)]).save(folder)
