"""Table 2 of the paper: which runs, and what is printed of them; found cells are looked up, not trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from cnas.reports.comparison import Group
from cnas.reports.comparison.markdown import plain, search_time
from cnas.reports.comparison.runs import KENDALL_TAU, benchmark_metrics, percentile, rank, regret
from cnas.runs.config import RunConfig
from cnas.sweeps.table import Column, PaperTable, Rows, with_and_without

METHODS = {
    "rsps": "RSPS",
    "darts_v1": "DARTS-V1",
    "darts_v2": "DARTS-V2",
    "gdas": "GDAS",
    "setn": "SETN",
    "enas": "ENAS",
    "spos": "SPOS",
}
DATA_SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16_120": "ImageNet16-120"}
PAPER = {
    "rsps": ((91.05, 0.66), (68.26, 0.96), (40.69, 0.36)),
    "rsps-cl": ((93.25, 0.41), (69.49, 1.33), (42.58, 0.97)),
    "darts_v1": ((59.84, 7.84), (61.26, 4.43), (37.88, 2.91)),
    "darts_v1-cl": ((59.84, 7.83), (67.19, 0.65), (42.50, 1.46)),
    "darts_v2": ((65.38, 7.84), (60.49, 4.95), (36.79, 7.59)),
    "darts_v2-cl": ((70.92, 0.00), (67.46, 1.00), (38.71, 4.05)),
    "gdas": ((93.23, 0.58), (68.17, 2.50), (39.40, 0.00)),
    "gdas-cl": ((93.54, 0.10), (68.17, 0.33), (39.40, 0.00)),
    "setn": ((92.72, 0.73), (69.36, 1.72), (39.51, 0.33)),
    "setn-cl": ((93.01, 0.24), (71.03, 0.11), (39.68, 0.16)),
    "enas": ((93.76, 0.00), (70.67, 0.62), (41.44, 0.00)),
    "enas-cl": ((93.76, 0.00), (70.75, 0.11), (42.67, 1.73)),
}
"""Table 2 of the paper: mean and deviation of three searches on each of `DATA_SETS`; it has no SPOS."""


def _rows(preset: str) -> Rows:
    """Every algorithm plain and with the curriculum; found cells are not trained."""
    configs = {name: RunConfig.from_preset(f"nats_cl/{preset}", name) for name in METHODS}
    untrained = {name: replace(each.retrain, num_train_epochs=0) for name, each in configs.items()}
    return with_and_without(
        {name: replace(each, recipe="nats_table2", retrain=untrained[name]) for name, each in configs.items()}
    )


PRESETS: dict[str, Callable[[], Rows]] = {name: partial(_rows, name) for name in ("smoke", "cpu", "paper")}


def _columns(groups: Sequence[Group]) -> list[Column]:
    """The accuracies beside the paper's; ranks and regrets are on the data set that the runs were looked up on."""
    tables = [run.result.benchmark for group in groups for run in group.runs]
    on = next((table.dataset for table in tables if table), next(iter(DATA_SETS)))
    accuracies = [(title, benchmark_metrics(name)) for name, title in DATA_SETS.items()]
    beside: list[Column] = [each for place, own in enumerate(accuracies) for each in (own, ("the paper's", place))]
    return beside + [(plain(measure.short), measure) for measure in (percentile(on), rank(on), regret(on), KENDALL_TAU)]


TABLE = PaperTable("nats_table2", METHODS, PAPER, PRESETS, _columns, {"search": search_time}, needs_table=True)
