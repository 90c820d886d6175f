"""Finished runs side by side: means and spreads over seeds, paired differences, random cells as reference."""

from cnas.reports.comparison.comparable import incomparable, unequal_searches
from cnas.reports.comparison.groups import Group, group_runs
from cnas.reports.comparison.markdown import Pair, render
from cnas.reports.comparison.measures import Measure
from cnas.reports.comparison.reference import AgainstRandom, against_random
from cnas.reports.comparison.runs import FinishedRun, load_run, load_runs
from cnas.reports.comparison.statistics import Summary, paired, summarize

__all__ = [
    "AgainstRandom",
    "FinishedRun",
    "Group",
    "Measure",
    "Pair",
    "Summary",
    "against_random",
    "group_runs",
    "incomparable",
    "load_run",
    "load_runs",
    "paired",
    "render",
    "summarize",
    "unequal_searches",
]
