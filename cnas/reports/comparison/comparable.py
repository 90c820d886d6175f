"""Whether two figures may stand side by side: same kind, same data, same size of the network, same training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnas.reports.comparison.groups import TRAINING, Group, identity

SEARCH = (
    "used.search",
    "trainer.epochs",
    "trainer.batch_size",
    "space.hidden_size",
    "space.nodes",
    "space.channels",
    "space.cells",
)
"""What a search costs, and how much of the data it sees."""
NAMED = 2
"""So many groups are named for each value of a field that differs."""


def incomparable(groups: Sequence[Group]) -> list[str]:
    """The fields of data, network and training in which groups differ, each with its values; none if they compare.

    Example: ``network.hidden_size is 120 (enas on enas_rnn, plain), 160 (darts_v1 on darts_rnn, plain)``. Of groups
    that are not measured alike, that alone is told: ``metric is perplexity (…), accuracy (…)``.
    """
    return _differences(groups, _is_metric) or _differences(groups, _of_training)


def unequal_searches(groups: Sequence[Group]) -> list[str]:
    """The fields in which the searches among ``groups`` did not have the same budget; none across kinds of data."""
    searched = [group for group in groups if group.searched]
    return [] if _differences(searched, _is_metric) else _differences(searched, _of_search)


def _of_training(name: str) -> bool:
    first = name.split(".", maxsplit=1)[0]
    if first == "used":
        return name != "used.search"
    return first in {"retrain", "network", "data", "benchmark_metrics"} or name in TRAINING


def _is_metric(name: str) -> bool:
    return name == "metric"


def _of_search(name: str) -> bool:
    return name in SEARCH


def _differences(groups: Sequence[Group], counts: Callable[[str], bool]) -> list[str]:
    fields = [(group, identity(group.runs[0])) for group in groups]
    names = sorted({name for _, own in fields for name in own if counts(name)})
    found = []
    for name in names:
        labels: dict[str, list[str]] = {}
        for group, own in fields:
            labels.setdefault(own.get(name, "none"), []).append(group.label)
        if len(labels) > 1:
            found.append(f"{name} is " + ", ".join(f"{value} ({_short(who)})" for value, who in labels.items()))
    return found


def _short(labels: Sequence[str]) -> str:
    rest = len(labels) - NAMED
    return "; ".join(labels[:NAMED]) + (f"; {rest} more" if rest > 0 else "")
