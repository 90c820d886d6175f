"""The sample weights of easy, middling and hard samples over the epochs (Figure 6 of the paper's supplement).

Legend: N units of the training data, S of them traced, P epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnas.errors import UserError
from cnas.reports.drawing import BLUE, GREEN, MUTED, RED, WIDTH, Curve, Drawing, course, epochs_axis, finish, style
from cnas.reports.record import RunRecord, read_run

KEY = "weight_traces"
"""The key of a search's rows: v of the units `cnas.curricula.traced_units` names, in their order."""

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class WeightGroups:
    """Mean weights of the thirds of the traced units.

    Args:
        run: the name of its folder.
        epochs: of the rows.
        by: which epoch's weights have put a unit into its third, ``"first"`` or ``"last"``.
        low: mean v of the third with the smallest weights then, for each of ``epochs``.
        mid: of the middle third.
        high: of the third with the largest.
        units: how many are traced.
    """

    run: str
    epochs: tuple[int, ...]
    by: str
    low: tuple[float, ...]
    mid: tuple[float, ...]
    high: tuple[float, ...]
    units: int

    def in_words(self, *, named: bool = False) -> str:
        """How the three curves run, with the run's name before them where ``named``."""
        curves = {"high": self.high, "mid": self.mid, "low": self.low}
        words = ", ".join(
            f"{name} {course(list(zip(self.epochs, values, strict=True)), 3)}" for name, values in curves.items()
        )
        return f"{self.run}: {words}" if named else words


def weight_groups(run: str | Path, by: Literal["first", "last"] = "first") -> WeightGroups:
    """The mean weight of low, mid and high units over the epochs of a search.

    Thirds by the first weights tell whether what was hard stays hard. Thirds by the last ones show, as the paper's
    figure does, the way to where the units ended; such curves spread even where weights are drawn at random.

    Args:
        run: the folder of a search whose rows of ``metrics.jsonl`` have ``weight_traces``.
        by: which weights make the thirds, those of the ``"first"`` epoch in which they differ or of the ``"last"``.

    Raises:
        UserError: it is no such folder, no row has weights that differ, they are of changing length, or ``by`` is
            neither.
    """
    if by not in ("first", "last"):
        raise UserError(f"by must be first or last, got {str(by)[:20]!r}")
    record = read_run(Path(run))
    epochs, weights_PS = _traces(record)
    # Before the first update all weights are the same, which puts nobody into a group.
    uneven = [place for place, row in enumerate(weights_PS) if row.min() < row.max()]
    if not uneven or weights_PS.shape[1] < 3:
        raise UserError(f"run {run} has no weights to group: no row of its search has {KEY} of 3 units that differ")
    order = np.argsort(weights_PS[uneven[0] if by == "first" else uneven[-1]], kind="stable")
    low, mid, high = (tuple(weights_PS[:, third].mean(axis=1).tolist()) for third in np.array_split(order, 3))
    return WeightGroups(record.title, epochs, by, low, mid, high, len(order))


def _traces(record: RunRecord) -> tuple[tuple[int, ...], Weights]:
    """(epochs, weights [P, S]) of the rows that have them."""
    rows = [row for row in record.phase("search") if row.get(KEY)]
    lengths = {len(row[KEY]) for row in rows}
    if len(lengths) > 1:
        raise UserError(f"run {record.path}: {KEY} must have the same length in every row, got {sorted(lengths)}")
    if any(None in row[KEY] for row in rows):
        raise UserError(f"run {record.path}: {KEY} must be finite numbers, got null")
    weights = np.array([row[KEY] for row in rows], dtype=np.float64).reshape(len(rows), *(lengths or {0}))
    return tuple(row["epoch"] for row in rows), weights


def draw_weight_groups(*groups: WeightGroups) -> Drawing:
    """A line for each third; several searches have a panel each, all of one scale.

    Args:
        groups: of one search or of several, whose thirds are made by the same epoch's weights.

    Raises:
        UserError: there are none, or their thirds are made in different ways.
    """
    if len({each.by for each in groups}) != 1:
        raise UserError(f"groups must be of at least one search, all by first or all by last, got {len(groups)}")
    with style():
        figure, every = _panels(len(groups))
        for place, (axes, each) in enumerate(zip(every, groups, strict=True)):
            _draw(axes, each)
            epochs_axis(axes, "mean weight v" if place % 2 == 0 else "", bottom=place + 2 >= len(groups))
            if len(groups) > 1:
                axes.set_title(each.run, fontsize=8, loc="left", pad=3)
        figure.legend(*every[0].get_legend_handles_labels(), ncols=4, loc="upper left", borderaxespad=0.2)
        words = "; ".join(each.in_words(named=len(groups) > 1) for each in groups)
        units, by = max(each.units for each in groups), groups[0].by
        caption = f"Thirds of {units} samples, by their weights in the {by} epoch that tells them apart."
        return finish(figure, "weight_groups", "Weights of easy and hard samples", f"Mean weights: {words}.", caption)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes, two beside each other, and room for a legend above them."""
    rows, columns = -(-count // 2), min(count, 2)
    height = 0.45 + (2.45 if count == 1 else 1.75 * rows)
    figure = Figure(figsize=(WIDTH, height))
    every = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for spare in every[count:]:
        spare.set_visible(False)
    top = 0.25 if count == 1 else 0.45
    figure.subplots_adjust(left=0.7 / WIDTH, right=1 - 0.12 / WIDTH, bottom=0.45 / height, top=1 - top / height)
    figure.subplots_adjust(wspace=0.12, hspace=0.36)
    return figure, list(every[:count])


def _draw(axes: Axes, groups: WeightGroups) -> None:
    for name, values, colour in (("high", groups.high, RED), ("mid", groups.mid, BLUE), ("low", groups.low, GREEN)):
        Curve(name, list(zip(groups.epochs, values, strict=True)), colour).draw(axes)
    axes.axhline(1, color=MUTED, linestyle=":", linewidth=1.2, label="v = 1: no curriculum")
    axes.margins(y=0.08)
