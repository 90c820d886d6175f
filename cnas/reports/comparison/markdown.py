"""A comparison as Markdown: groups, paired differences, random cells, and what may not be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from cnas.hub._markdown import fill, plain
from cnas.reports.comparison.comparable import ENOUGH, against_random, incomparable, unequal_searches
from cnas.reports.comparison.groups import Group, Summary, identity, paired, without_curriculum
from cnas.reports.comparison.runs import Measure
from cnas.runs.benchmark_record import BaselineRecord
from cnas.runs.result import PhaseFigures

NONE = "–"
"""The text of an empty cell."""


@dataclass(frozen=True)
class Pair:
    """Two groups whose difference is asked for.

    Args:
        label: what the difference is called.
        left: it is taken from ``right``, seed by seed.
        right: a figure that is lower here makes the difference negative.
    """

    label: str
    left: Group
    right: Group

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that both have, in the order of ``left``."""
        return tuple(seed for seed in self.left.seeds if seed in self.right.seeds)


def render(groups: Sequence[Group]) -> str:
    """The whole comparison of groups of runs.

    Args:
        groups: as `group_runs` returns them.
    """
    pairs = find_pairs(groups)
    measures = measures_of([group for pair in pairs for group in (pair.left, pair.right)])
    header = ["difference", "seeds", *(plain(measure.short) for measure in measures)]
    return fill(
        "cnas.reports",
        "comparison.md.jinja",
        incomparable=incomparable(groups),
        unequal_searches=unequal_searches(groups),
        groups=groups_table(groups),
        differences=table(header, [pair_row(pair, measures) for pair in pairs]) if pairs else "",
        higher=[plain(measure.name) for measure in measures if measure.higher],
        lower=[plain(measure.name) for measure in measures if not measure.higher],
        random=random_section(groups),
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the cells are Markdown already.

    Example:
        >>> print(table(["a", "b"], [["1", "2"]]))
        | a | b |
        |---|---|
        | 1 | 2 |
    """
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, *rows]).replace(
        "\n", f"\n|{'---|' * len(header)}\n", 1
    )


def figure(summary: Summary, sign: str = "", form: str = ".2f") -> str:
    """``mean ± std``, or the number alone where there is one.

    Args:
        summary: of the numbers.
        sign: ``"+"`` shows it always.
        form: of a number, as `format` takes it.

    Example:
        >>> figure(Summary(58.375, 0.25, 3)), figure(Summary(-1.0, None, 1), "+")
        ('58.38 ± 0.25', '-1.00')
    """
    spread = "" if summary.std is None else f" ± {summary.std:{form}}"
    return f"{summary.mean:{sign}{form}}{spread}"


def group_figure(group: Group, measure: Measure) -> str:
    """A figure of a group's runs, with how many have it where some do not; a dash where none has.

    Args:
        group: of runs.
        measure: which figure.
    """
    summary = group.summary(measure)
    if summary is None:
        return NONE
    return figure(summary, form=measure.form) + (f" (n = {summary.n})" if summary.n < len(group.runs) else "")


def measures_of(groups: Sequence[Group]) -> list[Measure]:
    """What at least one of some groups has."""
    return list(dict.fromkeys(measure for group in groups for run in group.runs for measure in run.figures))


def duration(seconds: Sequence[float]) -> str:
    """The mean of some times in minutes, or in seconds where it is short.

    Example:
        >>> duration([840.0]), duration([12.0, 14.0]), duration([])
        ('14 min', '13 s', '–')
    """
    if not seconds:
        return NONE
    mean = fmean(seconds)
    return f"{mean / 60:.0f} min" if mean >= 120 else f"{mean:.0f} s"


def groups_table(groups: Sequence[Group]) -> str:
    """One row per group: figures (mean ± sample standard deviation), sizes and wall-clock.

    Parameters and training are left out where no cell was trained.
    """
    measures = measures_of(groups)
    trained = any(run.result.retrain is not None for group in groups for run in group.runs)
    times = {"parameters": _parameters, "search": search_time, "training": training_time}
    kept = {name: column for name, column in times.items() if trained or name == "search"}
    header = ["runs", "n", "seeds", *(plain(measure.short) for measure in measures), *kept]
    rows = [
        [
            plain(group.label),
            str(len(group.runs)),
            ", ".join(map(str, group.seeds)),
            *(group_figure(group, measure) for measure in measures),
            *(column(group) for column in kept.values()),
        ]
        for group in groups
    ]
    return table(header, rows)


def search_time(group: Group) -> str:
    """How long the searches of a group took."""
    return _time([run.result.search for run in group.runs])


def training_time(group: Group) -> str:
    """How long the training of its cells took."""
    return _time([run.result.retrain for run in group.runs])


def _time(phases: Sequence[PhaseFigures | None]) -> str:
    return duration([phase.seconds for phase in phases if phase is not None and phase.seconds is not None])


def _parameters(group: Group) -> str:
    trained = [run.result.retrain for run in group.runs if run.result.retrain is not None]
    sizes = sorted({each.parameters for each in trained if each.parameters is not None})
    if not sizes:
        return NONE
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"


def find_pairs(groups: Sequence[Group]) -> list[Pair]:
    """Each searched group with a curriculum beside the one that differs from it in the curriculum alone."""
    searched = [(group, identity(group.runs[0])) for group in groups if group.searched]
    bare = [(group, own) for group, own in searched if group.runs[0].result.curriculum is None]
    return [
        Pair(f"{right.label} − plain", left, right)
        for right, own in searched
        if right.runs[0].result.curriculum is not None
        for left, without in bare
        if without == without_curriculum(own)
    ]


def pair_row(pair: Pair, measures: Sequence[Measure]) -> list[str]:
    """Label, common seeds, and the difference in each measure.

    Args:
        pair: whose difference it is.
        measures: the columns.
    """
    seeds = ", ".join(map(str, pair.seeds)) or "none in common"
    return [plain(pair.label), seeds, *(_difference(pair, measure) for measure in measures)]


def _difference(pair: Pair, measure: Measure) -> str:
    seeds, summary = paired(pair.left.by_seed(measure), pair.right.by_seed(measure))
    if summary is None:
        return NONE
    error, form = summary.standard_error, measure.form
    about = [] if error is None else [f"s. e. {error:{form}}"]
    about += [f"seeds {', '.join(map(str, seeds))}"] if seeds != pair.seeds else []
    return f"{summary.mean:+{form}}" + (f" ({'; '.join(about)})" if about else "")


def random_section(groups: Sequence[Group]) -> str:
    """The found cells beside random ones in each primary measure, and beside what a table says costs nothing."""
    found = against_random(groups)
    by_measure = {each.measure: [one for one in found if one.measure == each.measure] for each in found}
    records = [run.result.benchmark for group in groups for run in group.runs]
    known = next((record for record in records if record and record.baselines), None)
    return fill(
        "cnas.reports",
        "against_random.md.jinja",
        by_measure=by_measure,
        enough=ENOUGH,
        figure=figure,
        on=known.dataset if known else "",
        baselines=baselines_table(known.baselines) if known else "",
    )


def baselines_table(baselines: Sequence[BaselineRecord]) -> str:
    """What choosing in some simple ways is worth, a row for each.

    Args:
        baselines: as a run has them.
    """

    def number(value: float | None, form: str) -> str:
        return NONE if value is None else f"{value:{form}}"

    rows = [
        [
            plain(each.name),
            f"{each.value:.2f} ± {each.deviation:.2f}",
            number(each.regret, ".2f"),
            number(each.rank, ",.0f"),
            number(each.percentile, ".2f"),
        ]
        for each in baselines
    ]
    return table(["chosen as", "mean ± sd", "regret", "rank", "percentile"], rows)
