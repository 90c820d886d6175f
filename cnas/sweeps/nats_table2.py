"""Table 2 of the paper: which runs, and what is printed of them; found cells are looked up, not trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from cnas.benchmarks import NatsTable
from cnas.reports.comparison import FinishedRun, Group, Measure, Pair
from cnas.reports.comparison.markdown import NONE, group_figure, pair_row, plain, random_section, search_time, table
from cnas.reports.comparison.runs import KENDALL_TAU, benchmark_metrics, rank, regret
from cnas.runs.config import RunConfig
from cnas.sweeps.comparison import missing
from cnas.sweeps.table import PaperTable, Plan, Rows, TableGroups, table_groups, with_and_without

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
HONESTY = (
    "The paper searched on each data set anew; here one search, on the images above, is looked up on all three.",
    "The paper's ± is the population deviation of three searches; here it is the sample deviation over the seeds.",
)


def _rows(preset: str) -> Rows:
    """Every algorithm plain and with the curriculum; found cells are not trained."""
    configs = {name: RunConfig.from_preset(f"nats_cl/{preset}", name) for name in METHODS}
    untrained = {name: replace(each.retrain, num_train_epochs=0) for name, each in configs.items()}
    return with_and_without(
        {name: replace(each, recipe="nats_table2", retrain=untrained[name]) for name, each in configs.items()}
    )


PRESETS: dict[str, Callable[[], Rows]] = {name: partial(_rows, name) for name in ("smoke", "cpu", "paper")}


def make_table(plan: Plan, home: Path, codes: Mapping[str, int]) -> str:
    """What the finished runs say, as Markdown.

    Args:
        plan: the runs there should be.
        home: the folder of their folders.
        codes: how each of them ended; 0 is finished.
    """
    known = cache(NatsTable.load)
    groups = table_groups(plan, home, codes, _title, lambda run, config: _complete(run, config, known))
    parts = [
        f"# Table 2, preset {next(iter(plan.rows.values())).preset}",
        _setting(plan, groups.all),
        _methods(groups),
        _differences(groups.found),
        random_section(groups.all),
        missing(plan.jobs(), home, codes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _complete(run: FinishedRun, config: RunConfig, known: Callable[[str], NatsTable]) -> FinishedRun:
    """The run with its accuracies on all data sets, also where ``result.json`` has but the one it was looked up on."""
    record = run.result.benchmark
    if record is None or record.test_accuracies:
        return run
    every = known(str(config.table)).query(run.result.architecture.string).test_accuracy
    complete = record.model_copy(update={"test_accuracies": dict(every)})
    return replace(run, result=run.result.model_copy(update={"benchmark": complete}))


def _title(row: str) -> str:
    name, _, kind = row.partition("-")
    return f"CL-{METHODS[name]}" if kind else METHODS[name]


def _setting(plan: Plan, groups: Sequence[Group]) -> str:
    """Which images, which budget, which seeds: one for all rows; and what sets the figures apart from the paper's."""
    config = next(iter(plan.rows.values()))
    space: Any = config.space
    lines = [
        f"- search: {config.trainer.num_train_epochs:,} epochs, batch {config.trainer.global_batch_size}, "
        f"{space.channels} channels, "
        f"{_count(space.cells, 'cell')} a stage",
        "- found cells are looked up, not trained: percent on test data after 200 epochs of NATS-Bench's own training",
        f"- ranks are among {space.size:,} cells; one drawn at random has {(space.size + 1) // 2:,} on average",
    ]
    if groups:
        result = groups[0].runs[0].result
        images, record = result.dataset, result.benchmark
        used = ", ".join(f"{name} {size:,}" for name, size in images.used.items())
        about = f"{plain(images.name)}, fingerprint {plain(images.fingerprint)}; images used: {plain(used)}"
        lines.insert(0, f"- images: {about}")
        if record is not None:
            lines.append(f"- table: {plain(record.source)}")
        if record is not None and record.ranked:
            ranked = f"of {record.ranked} random cells, from their validation losses with shared weights"
            lines.append(
                f"- Kendall's τ is that of the ranking {ranked}, and of their accuracies on {_benchmark_data(groups)}"
            )
        lines.append(f"- threads of a run: {result.environment['threads']}")
    lines.append(f"- seeds: {', '.join(map(str, plan.seeds))}")
    return "\n".join([*lines, *(f"- {sentence}" for sentence in HONESTY)])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _benchmark_data(groups: Sequence[Group | None]) -> str:
    """The data set whose ranks and regrets the runs have."""
    tables = [run.result.benchmark for group in groups if group for run in group.runs]
    return next((table.dataset for table in tables if table), next(iter(DATA_SETS)))


def _measures(groups: Sequence[Group | None]) -> list[Measure]:
    on = _benchmark_data(groups)
    return [*(benchmark_metrics(name) for name in DATA_SETS), rank(on), regret(on), KENDALL_TAU]


def _methods(groups: TableGroups) -> str:
    measures = _measures(groups.all)
    rows = [_row(_title(name), group, measures, _published(name)) for name, group in groups.found.items()]
    rows += [_row(each.label, each, measures, [NONE] * len(DATA_SETS)) for each in groups.random]
    accuracies = [head for title in DATA_SETS.values() for head in (title, "the paper's")]
    header = ["method", "n", *accuracies, *(plain(measure.short) for measure in measures[len(DATA_SETS) :]), "search"]
    return table(header, rows)


def _published(row: str) -> list[str]:
    return [f"{mean:.2f} ± {std:.2f}" for mean, std in PAPER[row]] if row in PAPER else [NONE] * len(DATA_SETS)


def _row(label: str, group: Group | None, measures: Sequence[Measure], paper: Sequence[str]) -> list[str]:
    figures = [NONE if group is None else group_figure(group, measure) for measure in measures]
    accuracies = [each for pair in zip(figures, paper, strict=False) for each in pair]
    count, time = (0, NONE) if group is None else (len(group.runs), search_time(group))
    return [label, str(count), *accuracies, *figures[len(DATA_SETS) :], time]


def _differences(found: Mapping[str, Group | None]) -> str:
    measures, rows = _measures([*found.values()]), []
    for name, title in METHODS.items():
        bare, curriculum = found[name], found[f"{name}-cl"]
        if bare is not None and curriculum is not None:
            label, seeds, *figures = pair_row(Pair(f"CL-{title} − {title}", bare, curriculum), measures)
            accuracies = [each for pair in zip(figures, _published_difference(name), strict=False) for each in pair]
            rows.append([label, seeds, *accuracies, *figures[len(DATA_SETS) :]])
    accuracies = [head for title in DATA_SETS.values() for head in (title, "the paper's")]
    header = ["difference", "seeds", *accuracies, *(plain(measure.short) for measure in measures[len(DATA_SETS) :])]
    text = (
        "With the curriculum minus without, seed by seed. Above 0 is better for accuracies and Kendall's τ, "
        "below 0 for ranks and regrets. One seed is no evidence for or against a curriculum."
    )
    return f"{text}\n\n{table(header, rows)}" if rows else ""


def _published_difference(row: str) -> list[str]:
    if row not in PAPER:
        return [NONE] * len(DATA_SETS)
    return [f"{right - left:+.2f}" for (left, _), (right, _) in zip(PAPER[row], PAPER[f"{row}-cl"], strict=True)]


TABLE = PaperTable("nats_table2", PRESETS, make_table, needs_table=True)
