"""Recipes that make a whole table: which runs (rows, seeds, random cells), their command line, what became of them."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnas.cli.main import exit_code
from cnas.errors import UserError
from cnas.reports.comparison import FinishedRun, Group, load_run
from cnas.runs.config import RunConfig
from cnas.runs.flags import OneLineParser
from cnas.sweeps.comparison import conclude
from cnas.sweeps.many import Job, by_seed, run_many
from cnas.sweeps.random_cells import random_cells
from cnas.training.context import StopSignal
from cnas.training.time_limit import process_started

Rows = dict[str, RunConfig]
"""The configuration of every row of a table, by the row's name."""
Presets = Mapping[str, Callable[[], Rows]]
"""The rows of a table by the preset's name."""
OPTIONS = ("data", "table")
"""Options of every run that the command line may set for all of them."""


@dataclass(frozen=True)
class Plan:
    """Which runs make up the table.

    Args:
        rows: configurations by row name; their own seeds do not count.
        seeds: every row is run with each of them.
        random: so many random cells of each space are trained for each seed.
    """

    rows: Rows
    seeds: tuple[int, ...]
    random: int

    def searches(self) -> dict[str, list[Job]]:
        """The runs of every row, one per seed."""
        return {
            name: [Job(f"{name}-s{seed}", _seeded(config, seed)) for seed in self.seeds]
            for name, config in self.rows.items()
        }

    def references(self) -> dict[str, list[Job]]:
        """The random cells by space, trained as the found ones are; drawn from the seed, no two alike."""
        spaces = {config.space.name: config for config in self.rows.values()}
        return {
            space: [
                Job(f"random-{space}-{index}-s{seed}", cell)
                for seed in self.seeds
                for index, cell in enumerate(random_cells(_seeded(config, seed), self.random), 1)
            ]
            for space, config in spaces.items()
        }

    def jobs(self) -> list[Job]:
        """All runs: seed by seed, so that a table of one seed is there first."""
        return by_seed(job for jobs in (*self.searches().values(), *self.references().values()) for job in jobs)


def with_and_without(configs: Mapping[str, RunConfig]) -> Rows:
    """Every configuration twice: without its curriculum, and below its name with ``-cl`` with it."""
    return {
        row: each
        for name, config in configs.items()
        for row, each in ((name, replace(config, curriculum=None)), (f"{name}-cl", config))
    }


MakeTable = Callable[[Plan, Path, Mapping[str, int]], str]
"""The table as Markdown, from the plan, the folder and how each run ended (0 is finished)."""


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper that a recipe makes.

    Args:
        recipe: its name.
        presets: its rows.
        to_markdown: makes the table.
        needs_table: whether ``--table`` is a flag, and needed where cells are not trained.
    """

    recipe: str
    presets: Presets
    to_markdown: MakeTable
    needs_table: bool = False

    def parse(self, argv: Sequence[str], description: str = "") -> tuple[Plan, Path, int, StopSignal]:
        """(plan, folder, runs at once, when they stop) of a command line.

        Raises:
            UserError: an unknown flag, or a value that is not allowed.
        """
        parser = table_parser(self.recipe, self.presets, description)
        if self.needs_table:
            parser.add_argument("--table", metavar="FILE", help="accuracies of all architectures, see cnas table build")
        given = parser.parse_args(list(argv))
        stop = StopSignal(given.stop_after, process_started())
        plan, home, at_once = table_plan(self.recipe, self.presets, given)
        configs = plan.rows.values()
        if self.needs_table and any(not each.retrain.num_train_epochs and each.table is None for each in configs):
            raise UserError(
                "--table must be a table of NATS-Bench, got none: found cells are not trained but looked up in it"
            )
        return plan, home, at_once, stop

    def main(self, argv: Sequence[str] | None = None, description: str = "") -> int:
        """Run the table; returns the exit code (see `cnas.errors`)."""
        words = sys.argv[1:] if argv is None else argv

        def action() -> int:
            plan, home, at_once, stop = self.parse(words, description)
            return run_table(plan, home, at_once, self.to_markdown, stop)

        return exit_code(action)


def table_parser(recipe: str, presets: Presets, description: str) -> OneLineParser:
    """The flags that such recipes share; a recipe may add its own before it parses.

    Args:
        recipe: its name, part of the folder of the runs.
        presets: what ``--preset`` chooses among; ``cpu`` is the default.
        description: what ``--help`` begins with.
    """
    parser = OneLineParser(
        description=textwrap.dedent(description), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=presets, default="cpu", help="of all runs (default: cpu)")
    parser.add_argument("--data", metavar="NAME_OR_PATH", help="as in the other recipes (default: of the preset)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], metavar="N", help="(default: 1)")
    parser.add_argument("--random", type=int, default=3, metavar="N", help="cells of each space and seed (default: 3)")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="runs at a time (default: 1)")
    parser.add_argument("--output-dir", metavar="DIR", help=f"(default: runs/{recipe}-<preset>)")
    parser.add_argument("--stop-after", metavar="TIME", help="the runs save and leave then, e.g. 90s, 9m or 1.5h")
    return parser


def table_plan(recipe: str, presets: Presets, given: argparse.Namespace) -> tuple[Plan, Path, int]:
    """(plan, folder of the runs, runs at once) that the parsed flags ask for.

    Args:
        recipe: as `table_parser` got it.
        presets: as `table_parser` got them.
        given: what its parser found; ``data`` and ``table`` go to every run where they are given.

    Raises:
        UserError: a number is too small.
    """
    for name, value, least in (("random", given.random, 0), ("seeds", min(given.seeds), 0), ("jobs", given.jobs, 1)):
        if value < least:
            raise UserError(f"--{name} must be at least {least}, got {value}")
    options = {name: value for name in OPTIONS if (value := getattr(given, name, None)) is not None}
    rows = {name: replace(config, **options) for name, config in presets[given.preset]().items()}
    home = Path(given.output_dir or f"runs/{recipe}-{given.preset}")
    return Plan(rows, tuple(dict.fromkeys(given.seeds)), given.random), home, given.jobs


@dataclass(frozen=True)
class TableGroups:
    """The finished runs of a table.

    Args:
        found: by row, None where no run of it is finished.
        random: those of random cells, a group for each space.
    """

    found: Mapping[str, Group | None]
    random: Sequence[Group]

    @property
    def all(self) -> list[Group]:
        """Rows first."""
        return [each for each in [*self.found.values(), *self.random] if each is not None]


def table_groups(
    plan: Plan,
    home: Path,
    codes: Mapping[str, int],
    title: Callable[[str], str],
    adapt: Callable[[FinishedRun, RunConfig], FinishedRun] = lambda run, _: run,
) -> TableGroups:
    """Read the finished runs of a plan.

    Args:
        plan: the runs there should be.
        home: the folder of their folders.
        codes: how each of them ended; 0 is finished.
        title: what a row is called.
        adapt: makes of every run what the table needs.

    Raises:
        UserError: a run cannot be read.
    """

    def group(label: str, jobs: Sequence[Job], random: bool = False) -> Group | None:
        runs = tuple(adapt(load_run(home / job.name), job.config) for job in jobs if codes[job.name] == 0)
        return Group(label, runs, random) if runs else None

    found = {name: group(title(name), jobs) for name, jobs in plan.searches().items()}
    random = [group(f"random cells of {space}", jobs, True) for space, jobs in plan.references().items()]
    return TableGroups(found, [each for each in random if each is not None])


def run_table(plan: Plan, home: Path, at_once: int, make_table: MakeTable, stop: StopSignal | None = None) -> int:
    """Do all runs that are not finished, print the table and write it beside them; returns 0.

    Args:
        plan: the runs.
        home: the folder of their folders.
        at_once: how many run at the same time.
        make_table: makes the table.
        stop: what stops the runs beside signals.

    Raises:
        UserError, StorageError, Stopped, UnfinishedError: as `cnas.sweeps.run_many` and `cnas.sweeps.conclude`.
    """
    codes = run_many(plan.jobs(), home, at_once=at_once, stop=stop)
    print(conclude(make_table(plan, home, codes), home, codes), flush=True)
    return 0


def _seeded(config: RunConfig, seed: int) -> RunConfig:
    return config.with_seed(seed)
