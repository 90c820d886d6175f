"""Table 3 of the paper: which runs, on equal terms, and what is printed of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cnas.reports.comparison import Group, Pair
from cnas.reports.comparison.markdown import (
    NONE,
    group_figure,
    pair_row,
    plain,
    random_section,
    search_time,
    table,
    training_time,
)
from cnas.reports.comparison.runs import TEST_PERPLEXITY, VALID_PERPLEXITY
from cnas.runs.config import RunConfig
from cnas.sweeps.comparison import missing
from cnas.sweeps.table import PaperTable, Plan, Rows, TableGroups, table_groups, with_and_without
from cnas.training.arguments import SearchArguments

METHODS = {"enas": "ENAS", "darts_v1": "DARTS-V1", "darts_v2": "DARTS-V2"}
PAPER = {
    "enas": (62.66, 59.93),
    "enas-cl": (61.58, 58.38),
    "darts_v1": (62.61, 60.08),
    "darts_v1-cl": (61.31, 58.78),
    "darts_v2": (60.52, 58.37),
    "darts_v2-cl": (59.29, 56.94),
}
"""Table 3 of the paper: perplexity on validation and test, one run each."""
SPLITS = (VALID_PERPLEXITY, TEST_PERPLEXITY)


def _rows(preset: str, **enas_search: int) -> Rows:
    """The six rows: text, training and network of DARTS for all, each search as its recipe has it."""
    enas, darts = (RunConfig.from_preset(f"{recipe}/{preset}") for recipe in ("ptb_cl_enas", "ptb_cl_darts"))
    shared = replace(darts, recipe="ptb_table3")
    loop = enas.trainer if preset == "paper" else _of_one_budget(enas, darts)
    return with_and_without(
        {
            "enas": replace(shared, space=enas.space, search=replace(enas.search, **enas_search), trainer=loop),
            "darts_v1": shared,
            "darts_v2": replace(shared, search=replace(darts.search, unrolled=True)),
        }
    )


def _of_one_budget(enas: RunConfig, darts: RunConfig) -> SearchArguments:
    """The loop of ENAS with the number of steps that DARTS has, and an optimiser of its own."""
    budget = ("num_train_epochs", "global_batch_size", "eval_batch_size")
    return replace(enas.trainer, **{name: getattr(darts.trainer, name) for name in budget})


PRESETS: dict[str, Callable[[], Rows]] = {
    "smoke": partial(_rows, "smoke"),
    # One slice, one size, one budget for all rows: about 100 minutes of a single thread for one seed. More controller
    # updates an epoch than the recipe has, since there are fewer epochs.
    "cpu": partial(_rows, "cpu", updates=40),
    # The published searches; all cells are trained as the DARTS authors train theirs.
    "paper": partial(_rows, "paper"),
}


def make_table(plan: Plan, home: Path, codes: Mapping[str, int]) -> str:
    """What the finished runs say, as Markdown.

    Args:
        plan: the runs there should be.
        home: the folder of their folders.
        codes: how each of them ended; 0 is finished.
    """
    groups = table_groups(plan, home, codes, _title)
    parts = [
        f"# Table 3, preset {next(iter(plan.rows.values())).preset}",
        _setting(plan, groups.all),
        _methods(groups),
        _differences(groups.found),
        random_section(groups.all),
        missing(plan.jobs(), home, codes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(row: str) -> str:
    name, _, kind = row.partition("-")
    return f"CL-{METHODS[name]}" if kind else METHODS[name]


def _setting(plan: Plan, groups: Sequence[Group]) -> str:
    """Which text, which budget, which seeds: one for all rows."""
    config = next(iter(plan.rows.values()))
    searches = {
        (row.trainer.num_train_epochs, row.trainer.global_batch_size, _hidden(row)) for row in plan.rows.values()
    }
    search = "; ".join(f"{e:,} epochs, batch {b}, {h} hidden units" for e, b, h in sorted(searches))
    retrain = config.retrain
    lines = [
        f"- search: {search}",
        f"- training of every cell: {retrain.num_train_epochs:,} epochs, batch {retrain.global_batch_size}",
    ]
    lines[1] += f", {config.network.hidden_size} hidden units"
    if groups:
        result = groups[0].runs[0].result
        text = result.dataset
        used = ", ".join(f"{name} {size:,}" for name, size in text.used.items())
        lines.insert(0, f"- text: {plain(text.name)}, fingerprint {text.fingerprint}; tokens used: {plain(used)}")
        lines.append(f"- threads of a run: {result.environment['threads']}")
    lines.append(f"- seeds: {', '.join(map(str, plan.seeds))}; perplexities are per word, ± is the sample deviation")
    return "\n".join(lines)


def _hidden(config: RunConfig) -> int:
    return int(config.space.hidden_size)  # type: ignore[attr-defined] # every recurrent space has one


def _methods(groups: TableGroups) -> str:
    rows = [
        _row(_title(name), group, [f"{value:.2f}" for value in PAPER[name]]) for name, group in groups.found.items()
    ]
    rows += [_row(group.label, group, [NONE, NONE]) for group in groups.random]
    header = ["method", "n", "valid", "test", "the paper's valid", "the paper's test", "search", "training"]
    return table(header, rows)


def _row(label: str, group: Group | None, paper: Sequence[str]) -> list[str]:
    if group is None:
        return [label, "0", NONE, NONE, *paper, NONE, NONE]
    figures = [group_figure(group, measure) for measure in SPLITS]
    return [label, str(len(group.runs)), *figures, *paper, search_time(group), training_time(group)]


def _differences(found: Mapping[str, Group | None]) -> str:
    rows = []
    for name, title in METHODS.items():
        plain, curriculum = found[name], found[f"{name}-cl"]
        if plain is not None and curriculum is not None:
            paper = [f"{b - a:+.2f}" for a, b in zip(PAPER[name], PAPER[f"{name}-cl"], strict=True)]
            rows.append([*pair_row(Pair(f"CL-{title} − {title}", plain, curriculum), SPLITS), *paper])
    header = ["difference", "seeds", "valid", "test", "the paper's valid", "the paper's test"]
    return table(header, rows) if rows else ""


TABLE = PaperTable("ptb_table3", PRESETS, make_table)
