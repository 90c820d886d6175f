"""Make a benchmark of finished runs that trained given cells alike: a Parquet table, and a card beside it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnas.benchmarks import TrainedTable, baselines
from cnas.benchmarks.table_files import new_table, write_columns
from cnas.durable import replace_file
from cnas.errors import UserError
from cnas.hub._markdown import fill
from cnas.reports.comparison.groups import identity
from cnas.reports.comparison.markdown import table as markdown_table
from cnas.reports.comparison.runs import FinishedRun, load_runs

_VERSIONS = ("cnas", "torch", "device")


def build_trained_table(folders: Sequence[str | Path], out: str | Path) -> TrainedTable:
    """Write the table of some runs, for `TrainedTable.load`, and its card as Markdown beside it.

    Args:
        folders: of finished runs with a given architecture of a recurrent space.
        out: the Parquet file to write; it must not exist. The card has its name with ``.md``.

    Raises:
        UserError: ``out`` exists or is in no folder, a run is not finished or was searched, or two were trained unlike;
            the message names the run and the field.
        StorageError: the disk refuses.
    """
    out = new_table(out)
    runs = sorted(load_runs(folders), key=lambda run: (run.result.seed, run.name))
    columns = _columns(runs, _alike(runs))
    found = TrainedTable(columns, out.name)
    write_columns(columns, out)
    replace_file(out.with_suffix(".md"), card(found, runs).encode())
    return found


def card(found: TrainedTable, runs: Sequence[FinishedRun]) -> str:
    """The card of a table: what it holds, how the cells were trained, how much of their order is chance.

    Args:
        found: the table.
        runs: that it was made of.
    """
    (dataset,) = found.data_sets
    by_seed = {seed: list(found.values_of(seed).values()) for seed in found.seeds}
    ways = [
        [way.name, f"{way.value:.2f} ± {way.deviation:.2f}", f"{way.percentile:.2f}"]
        for way in baselines(found, dataset)
    ]
    heads = ["chosen as", "test perplexity", "mean percentile"]
    return fill(
        "cnas.sweeps",
        "trained_table.md.jinja",
        table=found,
        dataset=dataset,
        by_seed={seed: _figures(values) for seed, values in by_seed.items()},
        training=[(name, value) for name, value in found.training.items() if name.split(".")[0] != "data"],
        ways=markdown_table(heads, ways),
        hours=sum((run.result.retrain.seconds or 0.0) if run.result.retrain else 0.0 for run in runs) / 3600,
        versions={name: sorted({str(run.result.environment.get(name)) for run in runs}) for name in _VERSIONS},
    )


def _figures(values: Sequence[float]) -> dict[str, float]:
    return {
        "count": len(values),
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
        "least": min(values),
        "most": max(values),
    }


def _alike(runs: Sequence[FinishedRun]) -> dict[str, str]:
    """What all runs were trained by."""
    first = _training(runs[0])
    for run in runs:
        own = _training(run)
        for name in sorted({*first, *own}):
            if own.get(name) != first.get(name):
                raise UserError(
                    f"run {run.folder}: {name} must be {first.get(name)} as in {runs[0].folder}, got {own.get(name)}: "
                    "the cells of a benchmark are trained alike"
                )
    return first


def _training(run: FinishedRun) -> dict[str, str]:
    if run.searched:
        raise UserError(f"run {run.folder} was searched; a benchmark is made of runs with a given --architecture")
    if run.result.retrain is None or run.result.retrain.test_perplexity is None:
        raise UserError(f"run {run.folder} lacks retrain.test_perplexity")
    return identity(run)


def _columns(runs: Sequence[FinishedRun], training: dict[str, str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for run in runs:
        result = run.result
        assert result.retrain is not None
        row = {
            "arch": result.architecture.string,
            "seed": result.seed,
            "space": result.space,
            "dataset": result.dataset.name,
            "valid_perplexity": result.retrain.valid_perplexity,
            "test_perplexity": result.retrain.test_perplexity,
            "parameters": result.retrain.parameters,
            "bad_steps": result.retrain.bad_steps,
            "seconds": result.retrain.seconds,
            "training": json.dumps(training, sort_keys=True),
        }
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return found
