"""What became of the weights of easy, middling and hard samples (Figure 6 of the paper's supplement).

Legend: N units of the training data, S of them traced, P epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnas.errors import UserError
from cnas.export.report._drawing import (
    BLUE,
    GREEN,
    MUTED,
    RED,
    Drawing,
    course,
    epochs_axis,
    finish,
    legend,
    line,
    new_figure,
    style,
)
from cnas.export.report.record import number, read_run

KEY = "weight_traces"
"""The key of a search's rows: v of the units `cnas.curriculum.traced_units` names, in their order."""

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class WeightGroups:
    """Mean weights of the thirds of the traced units.

    Args:
        epochs: of the rows.
        by: which epoch's weights have put a unit into its third, ``"first"`` or ``"last"``.
        low: mean v of the third with the smallest weights then, for each of ``epochs``.
        mid: of the middle third.
        high: of the third with the largest.
        units: how many are traced.
    """

    epochs: tuple[int, ...]
    by: str
    low: tuple[float, ...]
    mid: tuple[float, ...]
    high: tuple[float, ...]
    units: int


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
    epochs, weights_PS = _traces(Path(run))
    # Before the first update all weigh the same, which puts nobody into a group.
    told = [place for place, row in enumerate(weights_PS) if row.min() < row.max()]
    if not told or weights_PS.shape[1] < 3:
        raise UserError(f"run {run} has no weights to group: no row of its search has {KEY} of 3 units that differ")
    order = np.argsort(weights_PS[told[0] if by == "first" else told[-1]], kind="stable")
    low, mid, high = (tuple(weights_PS[:, third].mean(axis=1).tolist()) for third in np.array_split(order, 3))
    return WeightGroups(epochs, by, low, mid, high, len(order))


def _traces(run: Path) -> tuple[tuple[int, ...], Weights]:
    """(epochs, weights [P, S]) of the rows that have them."""
    rows = [row for row in read_run(run).phase("search") if isinstance(row.get(KEY), list)]
    lengths = {len(row[KEY]) for row in rows}
    if len(lengths) > 1:
        raise UserError(f"run {run}: {KEY} must have the same length in every row, got {sorted(lengths)}")
    return tuple(int(row.get("epoch", 0)) for row in rows), _table(run, [row[KEY] for row in rows])


def _table(run: Path, rows: list[list[Any]]) -> Weights:
    for row in rows:
        for value in row:
            if number(value) is None:
                raise UserError(f"run {run}: {KEY} must be finite numbers, got {str(value)[:40]!r}")
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(rows[0]) if rows else 0)


def draw_weight_groups(groups: WeightGroups) -> Drawing:
    """A line for each third.

    Args:
        groups: what to draw.
    """
    curves = {
        name: list(zip(groups.epochs, values, strict=True))
        for name, values in (("high", groups.high), ("mid", groups.mid), ("low", groups.low))
    }
    with style():
        figure, axes = new_figure()
        for (name, points), colour in zip(curves.items(), (RED, BLUE, GREEN), strict=True):
            line(axes, points, name, colour)
        axes.axhline(1, color=MUTED, linestyle=":", linewidth=1.2, label="v = 1: no curriculum")
        axes.margins(y=0.08)
        epochs_axis(axes, "mean weight v")
        legend(axes)
        words = "; ".join(f"{name} {course(points, 3)}" for name, points in curves.items())
        caption = f"Thirds of {groups.units} samples, by their weights in the {groups.by} epoch that tells them apart."
        return finish(figure, "weight_groups", "Weights of easy and hard samples", f"Mean weights: {words}.", caption)
