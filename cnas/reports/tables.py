"""The numbers of a report as tables: plain data, which the page's template lays out."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnas.hub._markdown import name, one_line
from cnas.reports.record import RunRecord
from cnas.reports.weights import SampleWeights, Unit
from cnas.runs.folder import scalars
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture

MISSING = "–"
PICTURE = "data:image/png;base64,"
"""How the cell of a picture starts, and no other: the page's template shows it."""
_FORMS = {"perplexity": "{:.2f}", "word_perplexity": "{:.2f}", "accuracy": "{:.2f} %"}
"""By the name of a metric, how its number is written."""


@dataclass(frozen=True)
class Table:
    """Rows below one heading each; the first cell of a row is its heading.

    Args:
        caption: what the table shows.
        columns: the headings.
        rows: as many cells each as there are columns; one that starts with `PICTURE` is shown as the image it is.
        numeric: the columns that hold numbers, which stand to the right.
        wide: its cells are prose, which may break.
        beside: it stands among the figures.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    wide: bool = False
    beside: bool = False


def headlines(record: RunRecord) -> list[tuple[str, str]]:
    """(name, value) of what a reader wants to know first: test before validation, size, time."""
    result = record.result
    found = [
        (f"{title} {metric}", _FORMS.get(metric, "{:.4f}").format(value))
        for split, title in (("test", "Test"), ("valid", "Validation"))
        for metric, value in (result.metrics(split) if result else {}).items()
    ]
    if result and result.retrain and result.retrain.parameters is not None:
        found.append(("Parameters", f"{result.retrain.parameters:,}"))
    times = {"Search": seconds(record, "search"), "Training": seconds(record, "retrain")}
    return [*found, *((label, duration(value)) for label, value in times.items() if value is not None)]


def overview(records: Sequence[RunRecord]) -> Table:
    """One row per run."""
    columns = list(dict.fromkeys(label for record in records for label, _ in headlines(record)))
    rows = []
    for index, record in enumerate(records, 1):
        values = dict(headlines(record))
        head, tail = (str(index), record.variant, record.seed), (state(record), record.title)
        rows.append((*head, *(values.get(label, MISSING) for label in columns), *tail))
    labels = ("Run", "Variant", "Seed", *columns, "State", "Folder")
    return Table("All runs", labels, tuple(rows), tuple(range(3, len(labels) - 2)))


def state(record: RunRecord) -> str:
    """How far a run has come."""
    if record.result:
        return "finished"
    if not record.rows:
        return "nothing measured yet"
    last = record.rows[-1]
    phase = {"search": "search", "retrain": "training"}.get(last.get("phase", ""), "unknown")
    return f"{phase}, epoch {last.get('epoch', MISSING)}"


def seconds(record: RunRecord, phase: str) -> float | None:
    """How long a phase took, or has taken so far."""
    return _figure(record, phase, "seconds", "total_seconds")


def _figure(record: RunRecord, phase: str, name: str, key: str) -> Any:
    """A figure of a phase: the result's, or else that of its last row under ``key``."""
    measured, rows = getattr(getattr(record.result, phase, None), name, None), record.phase(phase)
    return measured if measured is not None or not rows else rows[-1].get(key)


def duration(value: float) -> str:
    """Seconds in units that a reader can picture.

    Example:
        >>> [duration(value) for value in (9.37, 75.0, 8_940.0)]
        ['9.4 s', '1 min 15 s', '2 h 29 min']
    """
    if value < 60:
        return f"{value:.1f} s"
    if value < 600:
        return f"{round(value) // 60} min {round(value) % 60} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def operations(space: SearchSpace, architecture: Architecture) -> Table:
    """How often the cell uses each operation."""
    counts = Counter(operation for _, operation in architecture.choices)
    rows = tuple(
        (name, str(counts[index]), f"{counts[index] / counts.total():.0%}")
        for index, name in enumerate(space.operations)
    )
    return Table("Operations of the cell", ("Operation", "Used", "Share"), rows, (1, 2), beside=True)


def texts(units: Sequence[Unit], weights: SampleWeights, caption: str) -> Table:
    """The texts, or the images, of some units with their weights."""
    seen = [(f"{weights.values[unit]:.3f}", view) for unit, view in units]
    if any(view.picture for _, view in seen):
        images = tuple((v, PICTURE + base64.b64encode(view.picture).decode(), one_line(view.text)) for v, view in seen)
        return Table(caption, ("Weight", "Image", "Class"), images, (0,), beside=True)
    if any(view.marked for _, view in seen):
        marked = tuple((v, one_line(view.marked), one_line(view.text)) for v, view in seen)
        return Table(caption, ("Weight", "Word", "After"), marked, (0,), wide=True)
    return Table(caption, ("Weight", "Text"), tuple((v, one_line(view.text)) for v, view in seen), (0,), wide=True)


def times(records: Sequence[RunRecord]) -> list[Table]:
    """Epochs, steps and time of each phase, and what went wrong in it; no table where nothing was measured."""
    return _side_by_side("Time", [_times(record) for record in records])


TROUBLE = {"bad_steps": "bad steps", "recoveries": "times an epoch was begun anew", "left_out": "scores left out"}
"""What rows of ``metrics.jsonl`` count; a report shows what there was."""


def _times(record: RunRecord) -> dict[str, str]:
    found: dict[str, str] = {}
    for phase, label in (("search", "Search"), ("retrain", "Training")):
        for key in ("epochs", "steps"):
            count = _figure(record, phase, key, key.removesuffix("s"))
            found |= {} if count is None else {f"{label}, {key}": f"{count:,}"}
        time = seconds(record, phase)
        found |= {} if time is None else {f"{label}, time": duration(time)}
        for key, words in TROUBLE.items():
            count = sum(row.get(key, 0) for row in record.phase(phase))
            found |= {f"{label}, {words}": f"{count:,}"} if count else {}
    return found


def environment(records: Sequence[RunRecord]) -> list[Table]:
    """Versions, devices and processes; no table where no run is finished."""
    found = [record.result.environment if record.result else {} for record in records]
    return _side_by_side("Environment", [_flat(each) for each in found])


def benchmark(records: Sequence[RunRecord]) -> list[Table]:
    """The entries of a tabular benchmark for the cells; no table where no run was looked up."""
    found = [record.result.benchmark if record.result else None for record in records]
    values = [{} if each is None else each.to_json() for each in found]
    known = [_flat({name: value for name, value in each.items() if name != "baselines"}) for each in values]
    free = [{} if each is None else {one_line(way.name): way.text for way in each.baselines} for each in found]
    return [*_side_by_side("Looked up", known), *_side_by_side("In place of a search", free)]


def settings(records: Sequence[RunRecord]) -> list[Table]:
    """The whole configuration of one run, a table for each part; of several runs the fields in which they differ."""
    if len(records) > 1:
        found = [_flat(record.config) for record in records]
        names = dict.fromkeys(key for values in found for key in values)
        differ = [key for key in names if len({values.get(key) for values in found}) > 1]
        rows = [{key: values.get(key, MISSING) for key in differ} for values in found]
        return _side_by_side("Fields that differ", rows)
    config = records[0].config
    general = {key: value for key, value in config.items() if not isinstance(value, dict)}
    parts = {"general": general} | {key: value for key, value in config.items() if isinstance(value, dict)}
    return [table for key, values in parts.items() for table in _side_by_side(one_line(key), [_flat(values)])]


def _side_by_side(caption: str, found: Sequence[Mapping[str, str]]) -> list[Table]:
    keys = list(dict.fromkeys(key for values in found for key in values))
    if not keys:
        return []
    heads = ("Value",) if len(found) == 1 else tuple(f"Run {index}" for index in range(1, len(found) + 1))
    rows = tuple((key.replace("_", " "), *(values.get(key, MISSING) for values in found)) for key in keys)
    return [Table(caption, ("Field", *heads), rows)]


def _flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested mappings as one, with dotted names and values in words; folders are left out of paths."""
    return {one_line(key): _word(value) for key, value in scalars(dict(values)).items()}


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    return f"{value:,}" if isinstance(value, int) else name(value)
