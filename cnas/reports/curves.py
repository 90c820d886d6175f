"""How well search and training learned: one figure a phase and run, and all runs over each other."""

from __future__ import annotations

from collections.abc import Sequence

from cnas.reports._drawing import (
    BLUE,
    RED,
    SERIES,
    Drawing,
    Points,
    course,
    epochs_axis,
    exp,
    finish,
    legend,
    line,
    log_axis,
    new_figure,
)
from cnas.reports.record import Row, RunRecord, number

PHASES = {"search": "Search: shared weights", "retrain": "Training of the cell"}
ACCURACY = "accuracy in %"

_COLOURED = len(SERIES)
"""So many runs have a colour of their own; more would not be told apart."""


def points(rows: Sequence[Row], key: str) -> list[tuple[float, float]]:
    """(epoch, value) of every row in which both are finite numbers."""
    pairs = [(number(row.get("epoch")), number(row.get(key))) for row in rows]
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def draw_learning_curve(record: RunRecord, phase: str) -> Drawing | None:
    """Training and validation of one phase; None where nothing was measured."""
    rows = record.phase(phase)
    unit, curves = _perplexities(rows) if _has_perplexity(rows) else ("loss", _losses(rows))
    curves = {label: found for label, found in curves.items() if found}
    if not curves:
        return None
    figure, axes = new_figure()
    for (label, found), colour in zip(curves.items(), (BLUE, RED), strict=False):
        line(axes, found, label, colour)
    if unit != "loss":
        log_axis(axes, [value for found in curves.values() for _, value in found])
    epochs_axis(axes, unit)
    legend(axes)
    words = "; ".join(f"{label} {course(found)}" for label, found in curves.items())
    return finish(figure, f"{phase}_curve", PHASES[phase], f"{unit} over epochs: {words}.")


def draw_accuracy(record: RunRecord, phase: str) -> Drawing | None:
    """Validation accuracy of one phase; None where nothing was classified."""
    found = points(record.phase(phase), "valid_accuracy")
    if not found:
        return None
    figure, axes = new_figure()
    line(axes, found, "validation", RED)
    epochs_axis(axes, f"validation {ACCURACY}")
    words = f"Validation {ACCURACY} over epochs: {course(found)}, highest {max(y for _, y in found):.4g}."
    return finish(figure, f"{phase}_accuracy", f"{PHASES[phase]}, accuracy", words)


def draw_comparison(records: Sequence[RunRecord], phase: str) -> Drawing | None:
    """The validation curves of all runs; None where fewer than two have any."""
    everything = {index: _validation(record.phase(phase)) for index, record in enumerate(records)}
    curves = {index: found for index, found in everything.items() if found[1]}
    if len(curves) < 2 or len({unit for unit, _ in curves.values()}) > 1:
        return None
    figure, axes = new_figure(2.8)
    for index, (_, found) in curves.items():
        plain = not records[index].curriculum
        line(axes, found, f"{index + 1} · {records[index].variant}", _colour(index, plain, len(records)), dashed=plain)
    unit = next(iter(curves.values()))[0]
    if unit == "perplexity":
        log_axis(axes, [value for _, found in curves.values() for _, value in found])
    epochs_axis(axes, f"validation {unit}")
    if len(curves) <= _COLOURED:
        legend(axes)
    words = "; ".join(
        f"run {index + 1}, {records[index].variant}, {course(found)}" for index, (_, found) in curves.items()
    )
    caption = "Broken lines are runs without a curriculum." if len({bool(r.curriculum) for r in records}) == 2 else ""
    return finish(figure, f"all_{phase}_curves", PHASES[phase], f"Validation {unit} over epochs: {words}.", caption)


def _colour(index: int, plain: bool, count: int) -> str:
    if count <= _COLOURED:
        return SERIES[index]
    return BLUE if plain else RED


def _has_perplexity(rows: Sequence[Row]) -> bool:
    return any(number(row.get("valid_perplexity")) is not None for row in rows)


def _perplexities(rows: Sequence[Row]) -> tuple[str, dict[str, Points]]:
    train = [(x, y) for x, loss in points(rows, "train_loss") if (y := exp(loss)) is not None]
    return "perplexity", {"training (with dropout)": train, "validation": points(rows, "valid_perplexity")}


def _losses(rows: Sequence[Row]) -> dict[str, Points]:
    return {"training": points(rows, "train_loss"), "validation": points(rows, "valid_loss")}


def _validation(rows: Sequence[Row]) -> tuple[str, Points]:
    known = {"perplexity": "valid_perplexity", ACCURACY: "valid_accuracy", "loss": "valid_loss"}
    found = {unit: points(rows, key) for unit, key in known.items()}
    return next(((unit, curve) for unit, curve in found.items() if curve), ("loss", []))
