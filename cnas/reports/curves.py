"""How well search and training learned: one figure a phase and run, and all runs over each other."""

from __future__ import annotations

from collections.abc import Sequence

from cnas.metrics import perplexity
from cnas.reports import drawing
from cnas.reports.drawing import BLUE, RED, SERIES, Curve, Drawing, Points, course, points
from cnas.reports.record import Row, RunRecord

PHASES = {"search": "Search: shared weights", "retrain": "Training of the cell"}
ACCURACY = "accuracy in %"

_COLOURED = len(SERIES)
"""So many runs have a colour of their own; more would not be told apart."""


def draw_learning_curve(record: RunRecord, phase: str) -> Drawing | None:
    """Training and validation of one phase; None where nothing was measured."""
    rows = record.phase(phase)
    train, unit, valid = points(rows, "train_loss"), "perplexity", points(rows, "valid_perplexity")
    if valid:
        known = {"training (with dropout)": [(x, perplexity(loss)) for x, loss in train if loss < 700]}
    else:
        unit, valid, known = "loss", points(rows, "valid_loss"), {"training": train}
    found = zip((known | {"validation": valid}).items(), (BLUE, RED), strict=True)
    curves = [Curve(label, values, colour) for (label, values), colour in found if values]
    if not curves:
        return None
    figure, axes = drawing.new_figure()
    for curve in curves:
        curve.draw(axes)
    if unit != "loss":
        drawing.log_axis(axes, [value for curve in curves for _, value in curve.points])
    drawing.epochs_axis(axes, unit)
    drawing.legend(axes)
    words = f"{unit} over epochs: {drawing.in_words(curves)}."
    return drawing.finish(figure, f"{phase}_curve", PHASES[phase], words)


def draw_accuracy(record: RunRecord, phase: str) -> Drawing | None:
    """Validation accuracy of one phase; None where nothing was classified."""
    found = points(record.phase(phase), "valid_accuracy")
    if not found:
        return None
    figure, axes = drawing.new_figure()
    Curve("validation", found, RED).draw(axes)
    drawing.epochs_axis(axes, f"validation {ACCURACY}")
    words = f"Validation {ACCURACY} over epochs: {course(found)}, highest {max(y for _, y in found):.4g}."
    return drawing.finish(figure, f"{phase}_accuracy", f"{PHASES[phase]}, accuracy", words)


def draw_comparison(records: Sequence[RunRecord], phase: str) -> Drawing | None:
    """The validation curves of all runs; None where fewer than two have any."""
    every = [(index, record, *_validation(record.phase(phase))) for index, record in enumerate(records, 1)]
    every = [(index, record, unit, found) for index, record, unit, found in every if found]
    units = {unit for _, _, unit, _ in every}
    if len(every) < 2 or len(units) > 1:
        return None
    (unit,) = units
    figure, axes = drawing.new_figure(2.8)
    for index, record, _, found in every:
        plain = not record.curriculum
        colour = SERIES[index - 1] if len(records) <= _COLOURED else BLUE if plain else RED
        Curve(f"{index} · {record.variant}", found, colour, plain).draw(axes)
    if unit == "perplexity":
        drawing.log_axis(axes, [value for *_, found in every for _, value in found])
    drawing.epochs_axis(axes, f"validation {unit}")
    if len(every) <= _COLOURED:
        drawing.legend(axes)
    words = "; ".join(f"run {index}, {record.variant}, {course(found)}" for index, record, _, found in every)
    caption = "Broken lines are runs without a curriculum." if len({bool(r.curriculum) for r in records}) == 2 else ""
    alternative = f"Validation {unit} over epochs: {words}."
    return drawing.finish(figure, f"all_{phase}_curves", PHASES[phase], alternative, caption)


def _validation(rows: Sequence[Row]) -> tuple[str, Points]:
    known = {"perplexity": "valid_perplexity", ACCURACY: "valid_accuracy", "loss": "valid_loss"}
    found = {unit: points(rows, key) for unit, key in known.items()}
    return next(((unit, curve) for unit, curve in found.items() if curve), ("loss", []))
