"""Compare finished runs, on text or on images: mean ± std over seeds, paired differences, random cells as reference.

cnas compare runs/a-s1 runs/a-s2 runs/b-s1 runs/b-s2
cnas compare runs/found-* --random runs/random-*        # do the found cells beat random ones?
cnas compare runs/found-* --output comparison.md        # as a file, beside the terminal

Runs that differ in the seed alone are one row. Where one row has the curriculum and another differs from it in that
alone, their difference is taken seed by seed. Runs with a given --architecture are no searches; those named after
--random are the reference the found cells have to beat. Cells are judged by the perplexity or accuracy of their trained
network, and by what a table says of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas compare`` takes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of finished runs")
    parser.add_argument(
        "--random", nargs="+", default=[], metavar="RUN", help="finished runs whose given cells were drawn at random"
    )
    parser.add_argument("--output", metavar="FILE", help="write the comparison to this file too")


def run(given: argparse.Namespace) -> str:
    """The comparison as Markdown.

    Raises:
        UserError: a folder is not that of a finished run, or the same run is named twice.
        StorageError: the file cannot be written.
    """
    from cnas.durable import storage_errors
    from cnas.reports.comparison import group_runs, load_runs, render

    runs = load_runs([*given.runs, *given.random])
    count = len(given.runs)
    text = render(group_runs(runs[:count], runs[count:])).rstrip("\n")
    if given.output is not None:
        with storage_errors(given.output):
            Path(given.output).write_text(f"{text}\n", "utf-8")
    return text
