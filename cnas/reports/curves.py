"""How well search and training learned: one figure a phase and run, and all runs over each other."""

from __future__ import annotations

from collections.abc import Sequence

from cnas.metrics import perplexity
from cnas.reports import drawing
from cnas.reports.drawing import BLUE, RED, SERIES, Curve, Drawing, Points, course, points
from cnas.reports.record import Row, RunRecord

PHASES = {"search": "Search: shared weights", "retrain": "Training of the network"}
ACCURACY = "accuracy in %"


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
    figure, _ = drawing.plot(curves, unit, log=unit != "loss")
    words = f"{unit} over epochs: {drawing.in_words(curves)}."
    return drawing.finish(figure, f"{phase}_curve", PHASES[phase], words)


def draw_accuracy(record: RunRecord, phase: str) -> Drawing | None:
    """Validation accuracy of one phase; None where nothing was classified."""
    found = points(record.phase(phase), "valid_accuracy")
    if not found:
        return None
    figure, _ = drawing.plot([Curve("validation", found, RED)], f"validation {ACCURACY}", columns=0)
    words = f"Validation {ACCURACY} over epochs: {course(found)}, highest {max(y for _, y in found):.4g}."
    return drawing.finish(figure, f"{phase}_accuracy", f"{PHASES[phase]}, accuracy", words)


def draw_comparison(records: Sequence[RunRecord], phase: str) -> Drawing | None:
    """The validation curves of all runs; None where fewer than two have any."""
    many = len(records) > len(SERIES)
    curves, units = [], set()
    for index, record in enumerate(records, 1):
        unit, found = _validation(record.phase(phase))
        if found:
            plain = not record.curriculum
            colour = (BLUE if plain else RED) if many else SERIES[index - 1]
            curves.append(Curve(f"{index} · {record.variant}", found, colour, plain))
            units.add(unit)
    if len(curves) < 2 or len(units) > 1:
        return None
    (unit,) = units
    columns = 2 if len(curves) <= len(SERIES) else 0
    figure, _ = drawing.plot(curves, f"validation {unit}", height=2.8, log=unit == "perplexity", columns=columns)
    words = "; ".join(f"run {curve.label.replace(' · ', ', ')}, {course(curve.points)}" for curve in curves)
    caption = "Broken lines are runs without a curriculum." if len({bool(r.curriculum) for r in records}) == 2 else ""
    alternative = f"Validation {unit} over epochs: {words}."
    return drawing.finish(figure, f"all_{phase}_curves", PHASES[phase], alternative, caption)


def _validation(rows: Sequence[Row]) -> tuple[str, Points]:
    known = {"perplexity": "valid_perplexity", ACCURACY: "valid_accuracy", "loss": "valid_loss"}
    found = {unit: points(rows, key) for unit, key in known.items()}
    return next(((unit, curve) for unit, curve in found.items() if curve), ("loss", []))
