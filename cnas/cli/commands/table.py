"""Build the compact table of a benchmark, from its official files or from runs that trained its cells.

cnas table build NATS-tss-v1_0-3ffb9-simple tss.parquet      # NATS-Bench's own
cnas table runs runs/ptb_benchmark/* ptb_benchmark.parquet   # cells we trained alike, with a card beside it

The folder of `build` is NATS-Bench's (topology space, the "simple" archive). Its pickles are opened without running
anything of theirs; all 15,625 take some minutes. `pip install cnas[bench]` brings the package that knows their layout.
`runs` takes finished runs with a given --architecture, which differ in that and in their seed alone.
"""

from __future__ import annotations

import argparse

from cnas.errors import UserError


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas table`` takes."""
    parser.add_argument("action", choices=["build", "runs"], help="from the official files, or from finished runs")
    parser.add_argument("source", metavar="SRC", nargs="+", help="the folder of the files, or folders of runs")
    parser.add_argument("out", metavar="OUT.parquet", help="the table to write; it must not exist")


def run(given: argparse.Namespace) -> str:
    """One line on what has been written; progress goes to stderr.

    Raises:
        UserError: the files or runs are not all there, one does not fit, or the table exists already.
        StorageError: the disk refuses.
    """
    if given.action == "runs":
        from cnas.sweeps.trained_table import build_trained_table

        found = build_trained_table(given.source, given.out)
        ceiling = found.ceiling()
        known = "" if ceiling is None else f", Kendall's τ between two seeds {ceiling.tau:.2f}"
        return f"{given.out}: {len(found)} cells{known}"
    from cnas.benchmarks import build_table

    if len(given.source) > 1:
        raise UserError(f"cnas table build takes one folder, got {len(given.source)}")
    count = build_table(given.source[0], given.out)
    return f"{given.out}: {count:,} architectures"
