"""Draw a report of one run, or of several side by side: one HTML file and the figures in it.

cnas report runs/first
cnas report runs/plain runs/curriculum --out runs/both

A finished run has one already (report.html); this draws it anew, or that of a run still under way. It is made from the
run folders alone; texts are quoted where the data is within reach.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas report`` takes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, finished or not")
    parser.add_argument(
        "--out", metavar="DIR", help="where report.html and figures/ go (default: into the run; report/ for several)"
    )


def run(given: argparse.Namespace) -> str:
    """The path of the page.

    Raises:
        UserError: a folder is not that of a run.
        StorageError: the page cannot be written.
    """
    from cnas.reports.report import write_report

    return str(write_report([Path(folder) for folder in given.runs], Path(given.out) if given.out else None))
