"""Runs of a report set against each other: the spread over seeds, and curriculum minus plain at equal seeds."""

from __future__ import annotations

from collections.abc import Sequence

from cnas.compare import FinishedRun, Group, Pair, group_runs, incomparable, load_run, paired
from cnas.compare.markdown import figure, find_pairs
from cnas.errors import UserError
from cnas.export.report import Comparison, RunRecord, Table, spoken

SPLITS = {"test": "Test perplexity", "valid": "Validation perplexity"}
ONE_SEED = "One seed is no evidence for or against a curriculum."


def compare_records(records: Sequence[RunRecord]) -> Comparison:
    """What the finished ones of some runs say of each other, and what keeps them from being compared.

    Args:
        records: of run folders; those that are not finished, or not measured by perplexity, do not count.
    """
    try:
        groups = group_runs(_finished(records))
    except UserError as problem:
        return Comparison(notes=(f"Not compared: {spoken(problem, records)}.",))
    pairs = find_pairs(groups)
    found = (_spread_table([group for group in groups if group.test.n > 1]), _paired_table(pairs))
    notes = [f"Not comparable: {line}." for line in incomparable(groups)]
    notes += [ONE_SEED] if any(len(_seeds(pair)) == 1 for pair in pairs) else []
    return Comparison(tuple(table for table in found if table.rows), tuple(notes))


def _finished(records: Sequence[RunRecord]) -> list[FinishedRun]:
    found = []
    for record in records:
        try:
            found.append(load_run(record.path))
        except UserError:  # the overview has it alone
            continue
    return found


def _spread_table(groups: Sequence[Group]) -> Table:
    rows = tuple(
        (group.label, str(group.test.n), *(figure(getattr(group, split)) for split in SPLITS)) for group in groups
    )
    return Table("Mean ± standard deviation over seeds", ("Runs", "Seeds", *SPLITS.values()), rows, (1, 2, 3))


def _paired_table(pairs: Sequence[Pair]) -> Table:
    rows = tuple(row for pair in pairs for row in _differences(pair))
    return Table("Curriculum minus plain, at equal seeds", ("Runs", "Seed", *SPLITS.values()), rows, (2, 3))


def _seeds(pair: Pair) -> tuple[int, ...]:
    return paired(pair.left.by_seed("test"), pair.right.by_seed("test"))[0]


def _differences(pair: Pair) -> list[tuple[str, ...]]:
    """A row for every seed that both have, and their mean where there are several."""
    seeds = _seeds(pair)
    rows: list[tuple[str, tuple[int, ...]]] = [(str(seed), (seed,)) for seed in seeds]
    rows += [(f"{len(seeds)} seeds", seeds)] if len(seeds) > 1 else []
    return [(pair.right.label, label, *(_difference(pair, split, these) for split in SPLITS)) for label, these in rows]


def _difference(pair: Pair, split: str, seeds: Sequence[int]) -> str:
    left, right = pair.left.by_seed(split), pair.right.by_seed(split)
    _, summary = paired({seed: left[seed] for seed in seeds}, {seed: right[seed] for seed in seeds})
    assert summary is not None
    return figure(summary, "+").replace("-", "−")
