"""What was measured of a run, as values that name themselves: a card, and the Hub, need not know what they are."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnas.hub._finite import is_finite
from cnas.hub.procedure import part

_SPLITS = {"validation": "valid", "test": "test"}
"""By the name that readers know, how ``result.json`` begins a split's keys."""


@dataclass(frozen=True)
class Measure:
    """One number that was measured.

    Args:
        name: of the metric, as the Hub calls it, e.g. ``perplexity``.
        split: ``validation`` or ``test``.
        value: finite.
        unit: what it is per, or ``%``.
    """

    name: str
    split: str
    value: float
    unit: str


@dataclass(frozen=True)
class Spread:
    """Mean and spread of one measure over several seeds.

    Args:
        mean: of the values.
        std: their sample standard deviation, n − 1 in the denominator.
        n: how many there are, at least two.
    """

    mean: float
    std: float
    n: int


def measures(result: Mapping[str, Any], units: Mapping[str, str]) -> list[Measure]:
    """The finite numbers among ``retrain.valid_<name>`` and ``retrain.test_<name>``.

    Args:
        result: the contents of ``result.json``.
        units: by the name of each metric to look for, its unit.

    Example:
        >>> measures({"retrain": {"test_perplexity": 94.2}}, {"perplexity": "per word"})
        [Measure(name='perplexity', split='test', value=94.2, unit='per word')]
    """
    retrain = part(result, "retrain")
    found = [(name, split, retrain.get(f"{key}_{name}")) for name in units for split, key in _SPLITS.items()]
    return [Measure(name, split, float(value), units[name]) for name, split, value in found if is_finite(value)]


def spread(measure: Measure, results: Sequence[Mapping[str, Any]]) -> Spread | None:
    """The same measure over several runs; None where fewer than two have it.

    Args:
        measure: which one, with its value in the first run.
        results: the contents of the other runs' ``result.json``.

    Example:
        >>> mine = Measure("perplexity", "test", 94.0, "per word")
        >>> spread(mine, [{"retrain": {"test_perplexity": 96.0}}])
        Spread(mean=95.0, std=1.4142135623730951, n=2)
    """
    others = [
        other.value
        for result in results
        for other in measures(result, {measure.name: measure.unit})
        if other.split == measure.split
    ]
    values = [measure.value, *others]
    return Spread(statistics.fmean(values), statistics.stdev(values), len(values)) if others else None


def cut(result: Mapping[str, Any], split: str) -> tuple[int, int] | None:
    """(used, there) where a run used the beginning of a split alone; None where it used all of it or does not say.

    Args:
        result: the contents of ``result.json``; a split's size is the largest count that it gives, e.g. tokens.
        split: its name there.
    """
    dataset = part(result, "dataset")
    size, used = (part(dataset, key).get(split) for key in ("splits", "used"))
    counts = list(size.values()) if isinstance(size, Mapping) else [size]
    there = max((count for count in counts if isinstance(count, int)), default=0)
    return (used, there) if isinstance(used, int) and used < there else None
