"""Runs of a report set against each other: the spread over seeds, and curriculum minus plain at equal seeds."""

from __future__ import annotations

from collections.abc import Sequence

from cnas.errors import UserError
from cnas.reports.comparison import FinishedRun, Group, Measure, Pair, group_runs, incomparable, paired
from cnas.reports.comparison.markdown import NONE, figure, find_pairs, group_figure, measures_of
from cnas.reports.page import Block
from cnas.reports.record import RunRecord, formatted
from cnas.reports.tables import Table

ONE_SEED = "One seed is no evidence for or against a curriculum."


def compare_records(records: Sequence[RunRecord]) -> Block:
    """Compare those runs that are finished, or say why they cannot be compared.

    Args:
        records: of run folders; those that are not finished, or have no primary measure, do not count.
    """
    found = [FinishedRun(record.path, record.config, record.result) for record in records if record.result]
    try:
        groups = group_runs([run for run in found if run.config and run.result.primary])
    except UserError as problem:
        return Block(notes=[f"Not compared: {formatted(problem, records)}."])
    pairs = find_pairs(groups)
    tables = (_spread_table([group for group in groups if len(group.runs) > 1]), _paired_table(pairs))
    notes = [f"Not comparable: {line}." for line in incomparable(groups)]
    notes += [ONE_SEED] if any(len(pair.seeds) == 1 for pair in pairs) else []
    return Block(tables=[table for table in tables if table.rows], notes=notes)


def _columns(groups: Sequence[Group]) -> list[Measure]:
    """The measures of some groups, the primary ones first."""
    primary_measures = {measure for group in groups for run in group.runs for measure in run.primary_measures}
    return sorted(measures_of(groups), key=lambda measure: measure not in primary_measures)


def _heads(columns: Sequence[Measure]) -> list[str]:
    return [measure.name[:1].upper() + measure.name[1:] for measure in columns]


def _spread_table(groups: Sequence[Group]) -> Table:
    columns = _columns(groups)
    rows = [
        (group.label, str(len(group.runs)), *(group_figure(group, measure) for measure in columns)) for group in groups
    ]
    heads = ("Runs", "Seeds", *_heads(columns))
    return Table("Mean ± standard deviation over seeds", heads, tuple(rows), tuple(range(1, len(heads))))


def _paired_table(pairs: Sequence[Pair]) -> Table:
    columns = _columns([group for pair in pairs for group in (pair.left, pair.right)])
    rows = [row for pair in pairs for row in _differences(pair, columns)]
    heads = ("Runs", "Seed", *_heads(columns))
    return Table("Curriculum minus plain, at equal seeds", heads, tuple(rows), tuple(range(2, len(heads))))


def _differences(pair: Pair, columns: Sequence[Measure]) -> list[tuple[str, ...]]:
    """A row for every seed that both have, and their mean where there are several."""
    rows: list[tuple[str, tuple[int, ...]]] = [(str(seed), (seed,)) for seed in pair.seeds]
    rows += [(f"{len(pair.seeds)} seeds", pair.seeds)] if len(pair.seeds) > 1 else []
    return [
        (pair.right.label, label, *(_difference(pair, measure, these) for measure in columns)) for label, these in rows
    ]


def _difference(pair: Pair, measure: Measure, seeds: Sequence[int]) -> str:
    left, right = (
        {seed: value for seed, value in group.by_seed(measure).items() if seed in seeds}
        for group in (pair.left, pair.right)
    )
    _, summary = paired(left, right)
    return NONE if summary is None else figure(summary, "+", measure.form).replace("-", "−")
