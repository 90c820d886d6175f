"""Finished runs side by side: means and spreads over seeds, paired differences, random cells as reference."""

from cnas.compare.comparable import incomparable, unequal_searches
from cnas.compare.groups import Group, group_runs
from cnas.compare.markdown import Pair, render
from cnas.compare.measures import Measure
from cnas.compare.reference import AgainstRandom, against_random
from cnas.compare.runs import FinishedRun, load_run, load_runs
from cnas.compare.statistics import Summary, paired, summarize

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
