"""Draw a figure of the paper from finished runs: PNG and SVG, and its numbers as JSON beside them.

cnas analyse ranking runs/plain runs/curriculum      # Figure 4: how the policy ranked the found cells, epoch by epoch
cnas analyse k-sweep runs/k_sweep/nats_cl-*          # Figure 5: test accuracy against K
cnas analyse similarity runs/a runs/b runs/c         # Figure 1: do trained cells fail on the same samples?
cnas analyse weights runs/gdas runs/setn             # Figure 6 of the supplement: weights of easy and hard samples
cnas analyse ranking --help                          # what one of them takes

Everything is read from the run folders; nothing is computed anew. docs/analyses.md says how to read the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnas.errors import UserError

if TYPE_CHECKING:
    from cnas.reports.drawing import Drawing


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas analyse`` takes: a kind, and that kind's own flags."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)

    def kind(name: str, draw: Callable[[argparse.Namespace], tuple[Any, Drawing]], about: str) -> Callable[..., Any]:
        added = kinds.add_parser(name, help=about, description=f"Draw {about}.")
        added.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
        added.add_argument("--output", default="figures", metavar="DIR", help="where the files go (default: figures)")
        added.set_defaults(draw=draw)
        return added.add_argument

    many: dict[str, Any] = {"nargs": "+", "default": []}
    add = kind("ranking", _ranking, "ranks of architectures by the policy, of one run or of two of one space")
    add("--architectures", **many, metavar="TEXT", help="which ones (default: those the runs have found)")
    add("--names", **many, metavar="NAME", help="of the architectures, in the legend")
    kind("k-sweep", _k_sweep, "test accuracy against K, of runs that differ in curriculum.k and the seed")
    add = kind("similarity", _similarity, "common misclassifications of networks trained on the same data")
    add("--split", default="test", metavar="NAME", help="test, train or validation (default: test)")
    add("--names", **many, metavar="NAME", help="of the networks (default: the folders')")
    add = kind("weights", _weights, "weights of easy and hard samples; a panel for each run")
    about = "the epoch whose weights make the thirds (default: first)"
    add("--by", choices=["first", "last"], default="first", help=about)


def run(given: argparse.Namespace) -> str:
    """What the figure shows in words, and the paths of its files.

    Raises:
        UserError: a folder is not that of a run, or the runs do not have what the figure needs.
        StorageError: the disk refuses.
    """
    from cnas.reports.analyses import save

    values, drawing = given.draw(given)
    files = save(values, drawing, given.output)
    words = [f"{drawing.title}. {drawing.alternative}", drawing.caption, *map(str, files)]
    return "\n".join(line for line in words if line)


def _ranking(given: argparse.Namespace) -> tuple[Any, Drawing]:
    from cnas.reports.analyses import draw_ranking_traces, ranking_traces
    from cnas.reports.record import read_run

    found = {read_run(Path(run)).notation: f"found by {Path(run).resolve().name}" for run in given.runs}
    traces = [ranking_traces(run, given.architectures or [text for text in found if text]) for run in given.runs]
    traced = list(traces[0].ranks)
    if given.names and len(given.names) != len(traced):
        raise UserError(f"--names must be one for each of the {len(traced)} architectures, got {len(given.names)}")
    return traces, draw_ranking_traces(*traces, labels=dict(zip(traced, given.names, strict=False)) or found)


def _k_sweep(given: argparse.Namespace) -> tuple[Any, Drawing]:
    from cnas.reports.analyses import draw_k_sweep, k_sweep

    sweep = k_sweep(given.runs)
    return sweep, draw_k_sweep(sweep)


def _similarity(given: argparse.Namespace) -> tuple[Any, Drawing]:
    from cnas.reports.analyses import draw_similarity, similarity

    found = similarity(given.runs, given.split, given.names)
    return found, draw_similarity(found)


def _weights(given: argparse.Namespace) -> tuple[Any, Drawing]:
    from cnas.reports.analyses import draw_weight_groups, weight_groups

    groups = [weight_groups(run, given.by) for run in given.runs]
    return groups, draw_weight_groups(*groups)
