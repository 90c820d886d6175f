"""Rows for the tables of a card, before they become Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cnas.curricula import known_class
from cnas.hub._markdown import last_part
from cnas.runs.folder import scalars
from cnas.runs.result import CurriculumSettings, PhaseFigures, RunResult

Rows = list[tuple[str, str]]

_OF_ONE_CELL = ("index", "ranked", "picks")
"""Numbers of a benchmark of which a mean says nothing."""


def procedure(result: RunResult) -> Rows:
    """Data, search, curriculum and training of a run; what ``result.json`` does not say is left out.

    Args:
        result: of the run.
    """
    dataset, retrain = result.dataset, result.retrain
    inherited = retrain.inherited if retrain else {}
    start = "weights that the search has left for it" if inherited else "new weights"
    before = ", ".join(f"{name.removeprefix('valid_')} {value:.2f}" for name, value in inherited.items() if value)
    rows = [
        ("Recipe", " ".join(last_part(name) for name in (result.recipe, result.preset) if name)),
        ("Data", last_part(dataset.name)),
        ("Fingerprint of the data", last_part(dataset.fingerprint)),
        ("Sizes of its splits", _sizes(dataset.splits)),
        ("Of it used", _sizes(dataset.used)),
        ("Batches cut to it", _sizes(dataset.cut)),
        ("Search", _counts(result.search, "weight steps")),
        *(_curriculum(result.curriculum) if result.search else []),
        (f"Training of the network, from {start}", _counts(retrain, "steps")),
        ("Validation with these weights, before it", before),
        ("Parameters", f"{retrain.parameters:,}" if retrain and retrain.parameters is not None else ""),
        ("Seed", str(result.seed)),
    ]
    return [(label, value) for label, value in rows if value]


def trouble(result: RunResult) -> str:
    """One sentence for each phase in which numbers were not finite, or far too large; empty where all went well.

    Args:
        result: of the run.
    """
    clauses = {
        "bad_steps": "{:,} bad steps updated nothing",
        "recoveries": "it went back to the start of an epoch {:,} time(s), each time with half the learning rate",
        "left_out": "{:,} scores or architecture steps were no numbers and did not count",
    }
    sentences = []
    for name, phase in (("search", result.search), ("training", result.retrain)):
        found = [text.format(count) for key, text in clauses.items() if (count := getattr(phase, key, 0))]
        if found:
            sentences.append(f"In the {name} {', and '.join(found)}.")
    return " ".join(sentences)


def settings(config: Mapping[str, Any]) -> Rows:
    """Every field of the parts of a configuration by its flag's name; never where data or logs are.

    Args:
        config: the contents of ``config.json``.

    Example:
        >>> settings({"data": "/home/ada/novel", "trainer": {"num_train_epochs": 8, "max_grad_norm": None}})
        [('trainer.num_train_epochs', '8'), ('trainer.max_grad_norm', 'none')]
    """
    parts = {key: value for key, value in config.items() if isinstance(value, Mapping)}
    return [row for row in flat(parts) if row[0] != "trainer.logging_dir"]


def benchmark_rows(result: RunResult) -> Rows:
    """What a benchmark says of a run's cell; fractions with two digits.

    Args:
        result: of the run.
    """
    rows = [(name, f"{value:.2f}" if isinstance(value, float) else _text(value)) for name, value in _known(result)]
    baselines = result.benchmark.baselines if result.benchmark else []
    return rows + [(f"in place of a search: {each.name}", each.text) for each in baselines]


def benchmark_spreads(results: Sequence[RunResult]) -> dict[str, str]:
    """Mean and sample standard deviation over several runs of what benchmarks say, by the names of `benchmark_rows`.

    Args:
        results: of the runs.
    """
    found: dict[str, list[float]] = {}
    for result in results:
        for name, value in _known(result):
            if isinstance(value, int | float) and not isinstance(value, bool) and name not in _OF_ONE_CELL:
                found.setdefault(name, []).append(value)
    return {name: f"{spread(values)} (n = {len(values)})" for name, values in found.items() if len(values) > 1}


def _known(result: RunResult) -> list[tuple[str, Any]]:
    record = {} if result.benchmark is None else result.benchmark.to_json()
    known = {name: value for name, value in record.items() if name != "baselines"}
    return [*scalars(known, spelled=last_part).items()]


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation, n − 1 in the denominator, of at least two values.

    Example:
        >>> spread([94.0, 96.0])
        '95.00 ± 1.41'
    """
    return f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"


def flat(values: Mapping[str, Any]) -> Rows:
    """Nested mappings as rows with dotted names; of paths the last part alone."""
    return [(name, _text(value)) for name, value in scalars(values, spelled=last_part).items()]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else last_part(value)


def _curriculum(curriculum: CurriculumSettings | None) -> Rows:
    if curriculum is None:
        return [("Curriculum", "none; every training sample has the same weight")]
    name, k, unit, refresh = (
        "unknown" if value is None else last_part(value)
        for value in (curriculum.name, curriculum.count, curriculum.unit, curriculum.refresh)
    )
    kind = known_class(curriculum.name)
    about = f": {(kind.__doc__ or '').splitlines()[0].rstrip('.').replace('`', '')}" if kind else ""
    return [
        ("Curriculum", f"{name}{about}"),
        ("Candidates that score the data", f"K = {k}"),
        ("Unit that has a weight of its own", unit),
        ("Refresh of the weights", f"once per {refresh}"),
    ]


def _counts(phase: PhaseFigures | None, steps: str) -> str:
    """How long a phase was, as far as it is known."""
    formats = {"epochs": "{:,} epochs", "steps": f"{{:,}} {steps}", "seconds": "{:,.0f} s"}
    values = ((text, getattr(phase, key, None)) for key, text in formats.items())
    return ", ".join(text.format(value) for text, value in values if value is not None)


def _sizes(splits: Mapping[str, Any]) -> str:
    """``train 42,068 sentences, 929,589 tokens; ...``, or counts alone; other notes on a split in parentheses."""
    return "; ".join(f"{last_part(split)} {_size(size)}" for split, size in splits.items())


def _size(size: Mapping[str, int | str] | int) -> str:
    if isinstance(size, int):
        return f"{size:,}"
    counts = [f"{count:,} {last_part(kind)}" for kind, count in size.items() if isinstance(count, int)]
    notes = [last_part(value) for value in size.values() if not isinstance(value, int)]
    return " ".join([", ".join(counts), *(f"({each})" for each in notes)]).strip()
