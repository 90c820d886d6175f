"""Draw a figure of the paper from finished runs: PNG and SVG, and its numbers as JSON beside them.

cnas analyse ranking runs/plain runs/curriculum      # Figure 4: how the policy ranked the found cells, epoch by epoch
cnas analyse k-sweep runs/k_sweep/nats_cl_*          # Figure 5: test accuracy against K
cnas analyse similarity runs/a runs/b runs/c         # Figure 1: do trained cells fail on the same samples?
cnas analyse weights runs/gdas runs/setn             # Figure 6 of the supplement: weights of easy and hard samples
cnas analyse ranking --help                          # what one of them takes

Everything is read from the run folders; nothing is computed anew. docs/analyses.md says how to read the figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cnas.errors import UserError
from cnas.reports import analyses
from cnas.reports.drawing import Drawing
from cnas.reports.record import read_run


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas analyse`` takes: a kind, and that kind's own flags."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    ranking = _kind(
        kinds, "ranking", _ranking, "ranks of architectures by the policy, of one run or of two of one space"
    )
    ranking.add_argument(
        "--architectures", nargs="+", default=[], metavar="TEXT", help="which ones (default: those the runs have found)"
    )
    ranking.add_argument("--names", nargs="+", default=[], metavar="NAME", help="of the architectures, in the legend")
    _kind(kinds, "k-sweep", _k_sweep, "test accuracy against K, of runs that differ in curriculum.k and the seed")
    alike = _kind(kinds, "similarity", _similarity, "common misclassifications of networks trained on the same data")
    alike.add_argument("--split", default="test", metavar="NAME", help="test, train or validation (default: test)")
    alike.add_argument("--names", nargs="+", default=[], metavar="NAME", help="of the networks (default: the folders')")
    weights = _kind(kinds, "weights", _weights, "weights of easy and hard samples; a panel for each run")
    weights.add_argument(
        "--by",
        choices=["first", "last"],
        default="first",
        help="the epoch whose weights make the thirds (default: first)",
    )


def _kind(kinds: Any, name: str, draw: Any, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=about, description=f"Draw {about}.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--output", default="figures", metavar="DIR", help="where the files go (default: figures)")
    parser.set_defaults(draw=draw)
    return parser


def run(given: argparse.Namespace) -> str:
    """What the figure shows in words, and the paths of its files.

    Raises:
        UserError: a folder is not that of a run, or the runs do not have what the figure needs.
        StorageError: the disk refuses.
    """
    values, drawing = given.draw(given)
    files = analyses.save(values, drawing, given.output)
    words = [f"{drawing.title}. {drawing.alternative}", drawing.caption, *map(str, files)]
    return "\n".join(line for line in words if line)


def _ranking(given: argparse.Namespace) -> tuple[Any, Drawing]:
    found = {read_run(Path(run)).notation: f"found by {Path(run).resolve().name}" for run in given.runs}
    chosen = given.architectures or [text for text in found if text]
    traces = [analyses.ranking_traces(run, chosen) for run in given.runs]
    traced = list(traces[0].ranks)
    if given.names and len(given.names) != len(traced):
        raise UserError(f"--names must be one for each of the {len(traced)} architectures, got {len(given.names)}")
    labels = dict(zip(traced, given.names, strict=False)) or found
    return traces, analyses.draw_ranking_traces(*traces, labels=labels)


def _k_sweep(given: argparse.Namespace) -> tuple[Any, Drawing]:
    sweep = analyses.k_sweep(given.runs)
    return sweep, analyses.draw_k_sweep(sweep)


def _similarity(given: argparse.Namespace) -> tuple[Any, Drawing]:
    found = analyses.similarity(given.runs, given.split, given.names)
    return found, analyses.draw_similarity(found)


def _weights(given: argparse.Namespace) -> tuple[Any, Drawing]:
    groups = [analyses.weight_groups(run, given.by) for run in given.runs]
    return groups, analyses.draw_weight_groups(*groups)
