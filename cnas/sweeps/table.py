"""Recipes that make a whole table: which runs (rows, seeds, random cells), their command line, what became of them."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnas.cli.main import exit_code
from cnas.errors import UserError
from cnas.hub._markdown import fill
from cnas.reports.comparison import Group, Measure, Pair, load_run
from cnas.reports.comparison.markdown import NONE, group_figure, pair_row, random_section, table
from cnas.runs.config import RunConfig
from cnas.runs.flags import OneLineParser
from cnas.runs.folder import home_folder
from cnas.sweeps.comparison import conclude, missing
from cnas.sweeps.many import Job, by_seed, run_many
from cnas.sweeps.random_cells import random_cells
from cnas.training.context import StopSignal
from cnas.training.time_limit import process_started

Rows = dict[str, RunConfig]
"""The configuration of every row of a table, by the row's name."""
Column = tuple[str, Measure | int]
"""The heading of a column, and what it shows: a measure of the runs, or the paper's figure of that number."""
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
            name: [Job(f"{name}-s{seed}", config.with_seed(seed)) for seed in self.seeds]
            for name, config in self.rows.items()
        }

    def references(self) -> dict[str, list[Job]]:
        """The random cells by space, trained as the found ones are; drawn from the seed, no two alike."""
        spaces = {config.space.name: config for config in self.rows.values()}
        return {
            space: [
                Job(f"random-{space}-{index}-s{seed}", cell)
                for seed in self.seeds
                for index, cell in enumerate(random_cells(config.with_seed(seed), self.random), 1)
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


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper that a recipe makes: every method plain and with the curriculum, and random cells.

    Args:
        recipe: its name; the template of the same name lays the table out.
        methods: what the paper calls each algorithm, by its name.
        paper: by row, its published figures, each a mean or a mean and its deviation; rows may be missing.
        presets: the rows by the preset's name.
        columns: the columns for the groups of finished runs, where rows are named and counted already.
        times: by heading, how long a part of the runs took.
        needs_table: whether ``--table`` is a flag, and needed where cells are not trained.
    """

    recipe: str
    methods: Mapping[str, str]
    paper: Mapping[str, Sequence[Sequence[float]]]
    presets: Mapping[str, Callable[[], Rows]]
    columns: Callable[[Sequence[Group]], Sequence[Column]]
    times: Mapping[str, Callable[[Group], str]]
    needs_table: bool = False

    def main(self, argv: Sequence[str] | None = None, description: str = "") -> int:
        """Run the table; returns the exit code (see `cnas.errors`)."""
        words = sys.argv[1:] if argv is None else argv
        return exit_code(lambda: self.run(*self.parse(words, description)))

    def parse(self, argv: Sequence[str], description: str = "") -> tuple[Plan, Path, int, StopSignal]:
        """(plan, folder, runs at once, when they stop) of a command line.

        Raises:
            UserError: an unknown flag, or a value that is not allowed.
        """
        given = self._parser(description).parse_args(list(argv))
        stop = StopSignal(given.stop_after, process_started())
        for name, value, least in (
            ("random", given.random, 0),
            ("seeds", min(given.seeds), 0),
            ("jobs", given.jobs, 1),
        ):
            if value < least:
                raise UserError(f"--{name} must be at least {least}, got {value}")
        options = {name: value for name in OPTIONS if (value := getattr(given, name, None)) is not None}
        rows = {name: replace(config, **options) for name, config in self.presets[given.preset]().items()}
        if self.needs_table and any(not row.retrain.num_train_epochs and row.table is None for row in rows.values()):
            raise UserError(
                "--table must be a table of NATS-Bench, got none: found cells are not trained but looked up in it"
            )
        home = home_folder(given.output_dir or f"runs/{self.recipe}-{given.preset}")
        return Plan(rows, tuple(dict.fromkeys(given.seeds)), given.random), home, given.jobs, stop

    def _parser(self, description: str) -> OneLineParser:
        parser = OneLineParser(
            description=textwrap.dedent(description), formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add = parser.add_argument
        add("--preset", choices=self.presets, default="cpu", help="of all runs (default: cpu)")
        add("--data", metavar="NAME_OR_PATH", help="as in the other recipes (default: of the preset)")
        add("--seeds", nargs="+", type=int, default=[1], metavar="N", help="(default: 1)")
        add("--random", type=int, default=3, metavar="N", help="cells of each space and seed (default: 3)")
        add("--jobs", type=int, default=1, metavar="J", help="runs at a time (default: 1)")
        add("--output-dir", metavar="DIR", help=f"(default: runs/{self.recipe}-<preset>)")
        add("--stop-after", metavar="TIME", help="the runs save and leave then, e.g. 90s, 9m or 1.5h")
        if self.needs_table:
            add("--table", metavar="FILE", help="accuracies of all architectures, see cnas table build")
        return parser

    def run(self, plan: Plan, home: Path, at_once: int, stop: StopSignal | None = None) -> int:
        """Do all runs that are not finished, print the table and write it beside them; returns 0.

        Args:
            plan: of the runs.
            home: the folder of their folders.
            at_once: how many at a time.
            stop: what stops them beside signals.

        Raises:
            UserError, StorageError, Stopped, UnfinishedError: as `cnas.sweeps.run_many` and `cnas.sweeps.conclude`.
        """
        codes = run_many(plan.jobs(), home, at_once=at_once, stop=stop)
        print(conclude(self.to_markdown(plan, home, codes), home, codes), flush=True)
        return 0

    def to_markdown(self, plan: Plan, home: Path, codes: Mapping[str, int]) -> str:
        """The table of the finished runs, and which runs are missing.

        Args:
            plan: the runs there should be.
            home: the folder of their folders.
            codes: how each of them ended; 0 is finished.

        Raises:
            UserError: a run cannot be read.
        """

        def group(label: str, jobs: Sequence[Job], random: bool = False) -> Group:
            runs = (load_run(home / job.name) for job in jobs if codes[job.name] == 0)
            return Group(label, tuple(runs), random)

        found = {row: group(self._title(row), jobs) for row, jobs in plan.searches().items()}
        random = [group(f"random cells of {space}", jobs, True) for space, jobs in plan.references().items()]
        random = [each for each in random if each.runs]
        finished = [*(each for each in found.values() if each.runs), *random]
        columns = self.columns(finished)
        heads = [head for head, _ in columns]
        methods = [self._method(each, columns, self.paper.get(row, ())) for row, each in found.items()]
        methods += [self._method(each, columns, ()) for each in random]
        differences = list(self._differences(found, columns))
        return fill(
            "cnas.sweeps",
            f"{self.recipe}.md.jinja",
            plan=plan,
            config=next(iter(plan.rows.values())),
            result=finished[0].runs[0].result if finished else None,
            methods=table(["method", "n", *heads, *self.times], methods),
            differences=table(["difference", "seeds", *heads], differences) if differences else "",
            random=random_section(finished),
            missing=missing(plan.jobs(), home, codes),
        )

    def _title(self, row: str) -> str:
        name, _, kind = row.partition("-")
        return f"CL-{self.methods[name]}" if kind else self.methods[name]

    def _method(self, group: Group, columns: Sequence[Column], paper: Sequence[Sequence[float]]) -> list[str]:
        published = [" ± ".join(f"{number:.2f}" for number in figures) for figures in paper]
        cells = _cells(columns, lambda measure: group_figure(group, measure), published)
        return [group.label, str(len(group.runs)), *cells, *(time(group) for time in self.times.values())]

    def _differences(self, found: Mapping[str, Group], columns: Sequence[Column]) -> Iterator[list[str]]:
        measures = [what for _, what in columns if isinstance(what, Measure)]
        for name, title in self.methods.items():
            bare, curriculum = found[name], found[f"{name}-cl"]
            if bare.runs and curriculum.runs:
                label, seeds, *figures = pair_row(Pair(f"CL-{title} − {title}", bare, curriculum), measures)
                paper = (self.paper.get(row, ()) for row in (name, f"{name}-cl"))
                published = [f"{right[0] - left[0]:+.2f}" for left, right in zip(*paper, strict=True)]
                yield [label, seeds, *_cells(columns, dict(zip(measures, figures, strict=True)).__getitem__, published)]


def _cells(columns: Sequence[Column], measured: Callable[[Measure], str], published: Sequence[str]) -> list[str]:
    """The texts of a row below the headings; a dash where the paper has no such row."""
    return [
        measured(what) if isinstance(what, Measure) else published[what] if published else NONE for _, what in columns
    ]
