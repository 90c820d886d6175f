"""Build the compact table of a benchmark from its official files.

cnas table build NATS-tss-v1_0-3ffb9-simple tss.parquet

The folder is NATS-Bench's (topology space, the "simple" archive). Its pickles are opened without running anything of
theirs; all 15,625 take some minutes. `pip install cnas[bench]` brings the package that knows their layout.
"""

from __future__ import annotations

import argparse
import sys

_EVERY = 500
"""So many files make a line of progress."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas table`` takes."""
    parser.add_argument("action", choices=["build"], metavar="build", help="what to do; so far it can be built")
    parser.add_argument("source", metavar="SRC", help="folder with meta.pickle.pbz2 and a file for each architecture")
    parser.add_argument("out", metavar="OUT.parquet", help="the table to write; it must not exist")


def run(given: argparse.Namespace) -> str:
    """One line on what has been written; progress goes to stderr.

    Raises:
        UserError: the files are not all there, one is broken, or the table exists already.
        StorageError: the disk refuses.
    """
    from cnas.benchmarks import build_table

    count = build_table(given.source, given.out, _log)
    return f"{given.out}: {count:,} architectures"


def _log(done: int, of: int) -> None:
    if done % _EVERY == 0 or done == of:
        print(f"{done:,} of {of:,} files read", file=sys.stderr, flush=True)
