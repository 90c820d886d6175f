"""Finished runs as they are compared: their figures, which way is better, and how they are printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cnas.errors import UserError
from cnas.runs.benchmark_record import BenchmarkRecord
from cnas.runs.earlier import by_new_names
from cnas.runs.folder import RunFolder
from cnas.runs.measures import ACCURACY, PERPLEXITY
from cnas.runs.result import RunResult


@dataclass(frozen=True)
class Measure:
    """A number that runs are compared by.

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
"""Rank correlation of losses with shared weights and the accuracies of a table (Kendall 1945, τ-b)."""

TRAINED = {PERPLEXITY.name: (VALID_PERPLEXITY, TEST_PERPLEXITY), ACCURACY.name: (VALID_ACCURACY, TEST_ACCURACY)}
"""By the metric of a network, what is measured of it on validation and test data."""


def benchmark_metrics(dataset: str) -> Measure:
    """The test accuracy that a table has of a cell, in percent.

    Args:
        dataset: on which, e.g. ``cifar10``.
    """
    return Measure(f"looked-up test accuracy on {dataset}", f"{dataset}, looked up", higher=True)


def table_value(record: BenchmarkRecord) -> Measure:
    """The figure that a table has of a cell: accuracy in percent, or perplexity."""
    if record.test_perplexity is None:
        return benchmark_metrics(record.dataset)
    return Measure(f"looked-up test perplexity on {record.dataset}", f"{record.dataset}, looked up")


def percentile(dataset: str) -> Measure:
    """The share of a table's connected cells that are worse, from 0 to 1."""
    return Measure(f"percentile on {dataset}", f"percentile on {dataset}", higher=True)


def rank(dataset: str) -> Measure:
    """The place among all cells of a table, from 1, the best."""
    return Measure(f"rank on {dataset}", f"rank on {dataset}", form=",.0f")


def regret(dataset: str) -> Measure:
    """How many points of accuracy a cell is below the best of a table."""
    return Measure(f"regret on {dataset}", f"regret on {dataset}")


@dataclass(frozen=True)
class FinishedRun:
    """One run that has been measured.

    Args:
        folder: of the run.
        config: what its ``config.json`` says, by the names of today.
        result: what its ``result.json`` says.
    """

    folder: Path
    config: Mapping[str, Any]
    result: RunResult

    @property
    def name(self) -> str:
        """The last part of the folder."""
        return self.folder.resolve().name

    @property
    def searched(self) -> bool:
        """Whether the cell was searched for; otherwise it was given."""
        return self.result.search is not None

    @cached_property
    def figures(self) -> dict[Measure, float]:
        """What was measured of it, and looked up."""
        valid, test = TRAINED[self.result.metric.name]
        name = self.result.metric.name
        found: dict[Measure, float | None] = {
            valid: self.result.metrics("valid").get(name),
            test: self.result.metrics("test").get(name),
        }
        if table := self.result.benchmark:
            found |= {
                table_value(table): table.test_accuracy if table.test_perplexity is None else table.test_perplexity
            }
            found |= {rank(table.dataset): table.rank, regret(table.dataset): table.regret}
            found |= {percentile(table.dataset): table.percentile, KENDALL_TAU: table.kendall_tau}
            others = {name: value for name, value in table.test_accuracies.items() if name != table.dataset}
            found |= {benchmark_metrics(name): value for name, value in others.items()}
        return {measure: float(value) for measure, value in found.items() if value is not None}

    @property
    def primary_measures(self) -> list[Measure]:
        """The measures by which cells are compared: the test of the trained network, a look-up, or both."""
        measured = TRAINED[self.result.metric.name][self.result.measured_on == "test"]
        table = self.result.benchmark
        known = [table_value(table), KENDALL_TAU] if table else []
        return [*([measured] if self.result.retrain else []), *[each for each in known if each in self.figures][:1]]


def load_run(folder: Path | str) -> FinishedRun:
    """Read what a finished run has left.

    Raises:
        UserError: there is no such folder, the run is not finished, or a value of its files is not what a run writes;
            the message names it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"run {path} is no folder; name the folder of a finished run")
    config = RunFolder(path).read_json("config.json")
    if config is None:
        raise UserError(f"run {path} has no config.json, so it is not the folder of a run")
    result = RunResult.load(path)
    if result.primary is None and not (result.benchmark and result.benchmark.kendall_tau is not None):
        lacks = f"retrain.{result.measured_on}_{result.metric.name}" if result.retrain else "retrain and benchmark"
        raise UserError(f"run {path}: result.json lacks {lacks}: nothing says what its cell is worth")
    return FinishedRun(path, by_new_names(config), result)


def load_runs(folders: Iterable[Path | str]) -> list[FinishedRun]:
    """`load_run` of each folder.

    Raises:
        UserError: what `load_run` raises, or a folder is named twice.
    """
    found: dict[Path, FinishedRun] = {}
    for folder in folders:
        place = Path(folder).resolve()
        if place in found:
            raise UserError(f"run {folder} is named twice")
        found[place] = load_run(folder)
    return list(found.values())
