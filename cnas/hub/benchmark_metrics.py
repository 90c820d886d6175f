"""What a tabular benchmark says of a run's cell, and of those of further seeds, as rows of a card."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cnas.hub._finite import is_finite
from cnas.hub.procedure import Rows, flat, part

_OF_ONE_CELL = ("index", "ranked")
"""Numbers of which a mean says nothing."""


def benchmark_metrics(result: Mapping[str, Any]) -> Rows:
    """What ``result.json`` has under ``benchmark``; fractions with two digits.

    Args:
        result: the contents of ``result.json``.

    Example:
        >>> benchmark_metrics({"benchmark": {"dataset": "cifar10", "test_accuracy": 84.7566, "rank": 13322}})
        [('dataset', 'cifar10'), ('test_accuracy', '84.76'), ('rank', '13322')]
    """
    return flat(_rounded(part(result, "benchmark")))


def spreads(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Mean and sample standard deviation over several runs, by the names of `benchmark_metrics`.

    Args:
        results: the contents of their ``result.json``.

    Example:
        >>> spreads([{"benchmark": {"rank": 3, "index": 7}}, {"benchmark": {"rank": 5, "index": 9}}])
        {'rank': '4.00 ± 1.41 (n = 2)'}
    """
    found: dict[str, list[float]] = {}
    for result in results:
        for name, value in _numbers(part(result, "benchmark")).items():
            found.setdefault(name, []).append(value)
    return {
        name: f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f} (n = {len(values)})"
        for name, values in found.items()
        if len(values) > 1
    }


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _rounded(value) if isinstance(value, Mapping) else f"{value:.2f}" if isinstance(value, float) else value
        for name, value in values.items()
    }


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of which a mean says something, by the names that `flat` gives them."""
    kept = {name: value for name, value in values.items() if name not in _OF_ONE_CELL}
    names = [name for name, _ in flat(kept)]
    return {name: value for name, value in zip(names, _leaves(kept), strict=True) if is_finite(value)}


def _leaves(values: Mapping[str, Any]) -> list[Any]:
    return [leaf for value in values.values() for leaf in (_leaves(value) if isinstance(value, Mapping) else [value])]
