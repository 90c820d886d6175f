"""Answer a question by a plan: arms, paired seeds, a gate and rules, all written down before the first run.

cnas study recipes/studies/smoke.yaml --jobs 2
cnas study recipes/studies/smoke.yaml --resume --stop-after 9m   # go on with it, for nine minutes

The study ends with a verdict on each comparison of the plan, by the plan's own rules: helps, no useful effect,
undecided, or no ranking at this budget; study.json and report.html in its folder hold everything. SIGTERM, SIGINT and
the end of --stop-after make the runs save, and the command ends with code 75; the same command with --resume goes on,
on another machine too if the folder is copied there. A plan that has changed since is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas study`` takes."""
    parser.add_argument("plan", metavar="PLAN", help="the plan of the study (YAML)")
    parser.add_argument("--output-dir", metavar="DIR", help="the folder of the study (default: runs/<plan>)")
    parser.add_argument("--resume", action="store_true", help="go on with the study in the folder")
    about = "save and leave so long after the command began, e.g. 90s, 9m or 1.5h"
    parser.add_argument("--stop-after", metavar="TIME", help=about)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (default: 1)")


def run(given: argparse.Namespace) -> str:
    """The verdicts as Markdown; progress is printed on the way.

    Raises:
        UserError: the plan, a flag in it or the folder is wrong; raised before anything starts.
        Stopped, StorageError: as `cnas.studies.run_study`.
        UnfinishedError: some runs failed, or are running elsewhere; what the others say has been printed.
    """
    from cnas.runs.folder import home_folder
    from cnas.studies import read_plan, run_study
    from cnas.studies.page import write_page
    from cnas.studies.summary import to_markdown
    from cnas.sweeps import UnfinishedError
    from cnas.training.context import StopSignal
    from cnas.training.time_limit import process_started

    stop = StopSignal(given.stop_after, process_started())
    plan = read_plan(given.plan)
    home = home_folder(given.output_dir or f"runs/{Path(given.plan).stem}")
    study = run_study(plan, home, resume=given.resume, at_once=given.jobs, stop=stop)
    text = f"\n{to_markdown(study)}\n\nwritten to {write_page(study)}"
    if any(study.codes.values()):
        print(text, flush=True)
        raise UnfinishedError(study.codes)
    return text
