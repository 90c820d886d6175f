"""The figures by which runs are compared, as values: their names, which way is better, how they are printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cnas.hub._finite import is_finite
from cnas.hub.model_kind import kind_of
from cnas.hub.procedure import part


@dataclass(frozen=True)
class Measure:
    """A figure that runs may have.

    Args:
        name: in a sentence, e.g. ``test perplexity``.
        short: at the head of a column.
        higher: whether more is better.
        form: how such a number is printed, as `format` takes it.
        chosen_on: by which of several cells one would choose the best without looking at this figure; None where there
            is no other.

    Example:
        >>> TEST_ACCURACY.beats(92.0, 91.5), TEST_PERPLEXITY.beats(92.0, 91.5)
        (True, False)
    """

    name: str
    short: str
    higher: bool = False
    form: str = ".2f"
    chosen_on: Measure | None = None

    def beats(self, left: float, right: float) -> bool:
        """Whether ``left`` is better than ``right``; equal is not."""
        return left > right if self.higher else left < right


VALID_PERPLEXITY = Measure("validation perplexity", "valid")
TEST_PERPLEXITY = Measure("test perplexity", "test", chosen_on=VALID_PERPLEXITY)
VALID_ACCURACY = Measure("validation accuracy", "valid accuracy", higher=True)
TEST_ACCURACY = Measure("test accuracy", "test accuracy", higher=True, chosen_on=VALID_ACCURACY)
KENDALL_TAU = Measure("Kendall's τ", "Kendall's τ", higher=True)
"""How well the shared weights rank architectures whose true order a table knows (Kendall 1945, τ-b)."""

TRAINED = {
    "perplexity": {"valid": VALID_PERPLEXITY, "test": TEST_PERPLEXITY},
    "accuracy": {"valid": VALID_ACCURACY, "test": TEST_ACCURACY},
}
"""By the metric of a kind of model, what is measured of a trained network on each split."""

Check = Callable[[Any], bool]


def benchmark_metrics(dataset: str) -> Measure:
    """The test accuracy that a table has of a cell, in percent.

    Args:
        dataset: on which, e.g. ``cifar10``.
    """
    return Measure(f"looked-up test accuracy on {dataset}", f"{dataset}, looked up", higher=True)


def rank(dataset: str) -> Measure:
    """The place among all cells of a table, from 1, the best."""
    return Measure(f"rank on {dataset}", f"rank on {dataset}", form=",.0f")


def regret(dataset: str) -> Measure:
    """How many points of accuracy a cell is below the best of a table."""
    return Measure(f"regret on {dataset}", f"regret on {dataset}")


def metric(result: Mapping[str, Any]) -> str:
    """What networks of a run's kind are measured by.

    Args:
        result: the contents of ``result.json``.

    Example:
        >>> metric({"retrain": {"test_accuracy": 91.25}})
        'accuracy'
    """
    return next(iter(kind_of(result).units))


def figures(result: Mapping[str, Any]) -> dict[Measure, float]:
    """What was measured and looked up of a run.

    Args:
        result: the contents of ``result.json``, in which what `needed` names is there.

    Example:
        >>> {measure.short: value for measure, value in figures({"retrain": {"test_accuracy": 91.25}}).items()}
        {'test accuracy': 91.25}
    """
    retrain, table = part(result, "retrain"), part(result, "benchmark")
    found = {measure: retrain.get(f"{split}_{metric(result)}") for split, measure in TRAINED[metric(result)].items()}
    if table:
        dataset = str(table["dataset"])
        found |= {benchmark_metrics(dataset): table["test_accuracy"]}
        found |= {rank(dataset): table.get("rank"), regret(dataset): table.get("regret")}
        found |= {KENDALL_TAU: table.get("kendall_tau")}
        found |= {
            benchmark_metrics(name): value for name, value in part(table, "test_accuracies").items() if name != dataset
        }
    return {measure: float(value) for measure, value in found.items() if value is not None}


def primary_measures(result: Mapping[str, Any]) -> list[Measure]:
    """The measures by which a run's cell is judged: the test of the trained network, the look-up, or both.

    Args:
        result: the contents of ``result.json``.
    """
    trained = [TRAINED[metric(result)]["test"]] if part(result, "retrain") else []
    table = part(result, "benchmark")
    return [*trained, *([benchmark_metrics(str(table["dataset"]))] if table else [])]


def needed(result: Mapping[str, Any]) -> dict[str, Check]:
    """By dotted name, what ``result.json`` must hold for `figures` to be told, and what each value must fulfil."""
    places: dict[str, Check] = {}
    if result.get("retrain") is not None:
        names = [f"{split}_{metric(result)}" for split in TRAINED[metric(result)]]
        places |= {f"retrain.{name}": is_size for name in (*names, "seconds", "parameters")}
    if result.get("benchmark") is not None:
        places |= {"benchmark.dataset": is_text, "benchmark.source": is_text, "benchmark.test_accuracy": is_size}
        places |= {f"benchmark.{name}": _or_none(is_size) for name in ("rank", "regret")}
        places |= {"benchmark.kendall_tau": _or_none(is_finite), "benchmark.test_accuracies": _or_none(_are_sizes)}
    return places


def is_size(value: Any) -> bool:
    """Whether it is a finite number that is not below 0."""
    return is_finite(value) and value >= 0


def is_text(value: Any) -> bool:
    """Whether it is a text that says something."""
    return isinstance(value, str) and value != ""


def _are_sizes(value: Any) -> bool:
    return isinstance(value, Mapping) and all(is_size(each) for each in value.values())


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)
