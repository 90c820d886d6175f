"""Push a finished run to the Hugging Face Hub, as a model that loads by its name.

cnas push runs/first ada/first-cell
cnas push runs/first ada/first-cell --private
cnas push runs/first ada/first-cell --architecture-only

The token is that of `hf auth login` or HF_TOKEN. Never uploaded: config.json of the run, logs, pickles, dot files,
links; checkpoints only with --with-checkpoints. A push that broke off is finished by the same command.
"""

from __future__ import annotations

import argparse
import sys


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas push`` takes."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("repo_id", metavar="REPO_ID", help="owner/name of the repository, made where it is missing")
    parser.add_argument("--private", action="store_true", help="only its owners may see it")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--architecture-only", action="store_true", help="card, results and cell, but no weights")
    what.add_argument("--with-checkpoints", action="store_true", help="upload checkpoints/ too")


def run(given: argparse.Namespace) -> str:
    """The URL of the commit; what is left out, and every attempt that failed, goes to stderr.

    Raises:
        UserError: the folder, the name or the token is wrong; raised before any upload.
        PushError: the Hub refused or could not be reached.
    """
    from cnas.hub import push_run

    return push_run(
        given.run,
        given.repo_id,
        private=given.private,
        architecture_only=given.architecture_only,
        include_checkpoints=given.with_checkpoints,
        log=lambda line: print(line, file=sys.stderr, flush=True),
    )
