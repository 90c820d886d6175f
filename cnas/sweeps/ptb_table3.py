"""Table 3 of the paper: which runs, on equal terms, and what is printed of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from cnas.reports.comparison.markdown import search_time, training_time
from cnas.reports.comparison.runs import TEST_PERPLEXITY, VALID_PERPLEXITY
from cnas.runs.config import RunConfig
from cnas.sweeps.table import Column, PaperTable, Rows, with_and_without
from cnas.training.arguments import SearchArguments

METHODS = {"enas": "ENAS", "darts_v1": "DARTS-V1", "darts_v2": "DARTS-V2"}
PAPER = {
    "enas": ((62.66,), (59.93,)),
    "enas-cl": ((61.58,), (58.38,)),
    "darts_v1": ((62.61,), (60.08,)),
    "darts_v1-cl": ((61.31,), (58.78,)),
    "darts_v2": ((60.52,), (58.37,)),
    "darts_v2-cl": ((59.29,), (56.94,)),
}
"""Table 3 of the paper: perplexity on validation and test, one run each."""
COLUMNS: list[Column] = [
    ("valid", VALID_PERPLEXITY),
    ("test", TEST_PERPLEXITY),
    ("the paper's valid", 0),
    ("the paper's test", 1),
]


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


TABLE = PaperTable(
    "ptb_table3",
    METHODS,
    PAPER,
    PRESETS,
    columns=lambda _: COLUMNS,
    times={"search": search_time, "training": training_time},
)
