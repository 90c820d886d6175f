"""How the policy ranked chosen architectures as the search went on (Figure 4 of the paper).

Legend: E edges, O operations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from cnas.errors import UserError
from cnas.reports import drawing
from cnas.reports.drawing import SERIES, WIDTH, Curve, Drawing
from cnas.reports.policy import Table, weight_tables
from cnas.reports.record import read_run
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

LARGEST = 1 << 22
"""Spaces of more architectures are not ranked: all their products are computed."""


@dataclass(frozen=True)
class RankingTraces:
    """The ranks of some architectures over the epochs of one search.

    Args:
        run: the name of its folder.
        epochs: after which the policy was recorded.
        ranks: by architecture, one rank for each of ``epochs``; 1 is the architecture the policy likes best.
        size: how many architectures are ranked, disconnected ones too.
    """

    run: str
    epochs: tuple[int, ...]
    ranks: Mapping[str, tuple[int, ...]]
    size: int


def ranking_traces(run: str | Path, architectures: Sequence[str] = ()) -> RankingTraces:
    """The ranks by the product of the policy's weights, as Figure 4 of Zhou et al. (2022) has them.

    Args:
        run: the folder of a search whose rows of ``metrics.jsonl`` have ``alphas``: the policy's weights [E][O].
        architectures: strings of the space; the one the search has found if there are none.

    Raises:
        UserError: it is no such folder, an architecture is malformed, there is none, the rows have no ``alphas``, or
            the space has too many architectures to rank them all.
    """
    record = read_run(Path(run))
    space, tables = record.space, weight_tables(record)
    if space is None or not tables:
        raise UserError(f"run {run} has no policy to trace: no row of its search has alphas, weights per edge")
    if space.size > LARGEST:
        raise UserError(f"run {run} is of a space of {space.size:,} architectures; at most {LARGEST:,} are ranked")
    wanted = architectures or [text for text in [record.notation] if text]
    if not wanted:
        raise UserError(f"run {run} has found no architecture yet; name those to trace")
    found = [space.parse(text) for text in wanted]
    columns = [_ranks(table, space, found) for _, table in tables]
    traces = {each.to_str(): tuple(column[place] for column in columns) for place, each in enumerate(found)}
    return RankingTraces(record.title, tuple(int(epoch) for epoch, _ in tables), traces, space.size)


def _ranks(table: Table, space: SearchSpace, architectures: Sequence[Architecture]) -> list[int]:
    """The rank of each architecture; those with equal products share the better one."""
    total = np.zeros(1)
    for decision in space.decisions():
        total = np.add.outer(total, [_log(table[edge][operation]) for edge, operation in decision.options]).ravel()
    own = [sum(_log(table[edge][operation]) for edge, operation in each.choices) for each in architectures]
    # Equal products are summed in another order, so they may differ in the last digits.
    return [1 + int((total > sums + 1e-8).sum()) for sums in own]


def _log(weight: float) -> float:
    # A finite number: the difference of two infinities is none.
    return math.log(weight) if weight > 0 else -1e6


def draw_ranking_traces(*traces: RankingTraces, labels: Mapping[str, str] | None = None) -> Drawing:
    """A line for each architecture; the best rank is above.

    Args:
        traces: of one search, or of two: the lines of the second are dashed, and equal architectures have one colour.
        labels: by architecture, what to call it in the legend; else they are numbered.

    Raises:
        UserError: there are none, more than two, or their spaces are of different sizes.
    """
    if not 1 <= len(traces) <= 2 or len({each.size for each in traces}) > 1:
        sizes = ", ".join(f"{each.size:,}" for each in traces)
        raise UserError(
            f"traces must be of one search or two of one space, got {len(traces)} of sizes {sizes or 'none'}"
        )
    curves = _curves(traces, labels or {})
    with drawing.style():
        # Long names beside each other would leave the figure.
        columns = 2 if max(len(curve.label) for _, curve in curves) <= 26 else 1
        lines = [curve for _, curve in curves]
        figure, axes = drawing.plot(lines, f"rank among {traces[0].size:,}", columns=columns)
        _rank_axis(figure, axes, traces[0].size)
        words = "; ".join(f"{curve.label} ({text}) {drawing.course(curve.points, 6)}" for text, curve in curves)
        title = "Rank of architectures by the policy"
        return drawing.finish(figure, "ranking_traces", title, f"Ranks, 1 is the best: {words}.")


def _curves(traces: Sequence[RankingTraces], labels: Mapping[str, str]) -> list[tuple[str, Curve]]:
    """(architecture, its line) in every search that has it."""
    every = list(dict.fromkeys(text for each in traces for text in each.ranks))
    found = []
    for place, text in enumerate(every):
        name = labels.get(text, f"architecture {place + 1}")
        for index, each in enumerate(traces):
            if text in each.ranks:
                label = name if len(traces) == 1 else f"{name} in {each.run}"
                points = list(zip(each.epochs, each.ranks[text], strict=True))
                found.append((text, Curve(label, points, SERIES[place % len(SERIES)], dashed=index == 1)))
    return found


def _rank_axis(figure: Figure, axes: Axes, size: int) -> None:
    drawing.log_axis(axes, [1, size])
    # Ranks reach far: a tick for each power of ten, and room for five digits.
    axes.yaxis.set_major_locator(LogLocator(subs=(1,)))
    axes.set_ylim(size * 1.3, 0.8)
    figure.subplots_adjust(left=0.75 / WIDTH)
