"""Finished runs side by side: means and spreads over seeds, paired differences, random cells as reference."""

from cnas.reports.comparison.comparable import AgainstRandom, against_random, incomparable, unequal_searches
from cnas.reports.comparison.groups import Group, Summary, group_runs, paired, summarize
from cnas.reports.comparison.markdown import Pair, render
from cnas.reports.comparison.runs import FinishedRun, Measure, load_run, load_runs

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
