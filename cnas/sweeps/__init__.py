"""Sweeps: many runs from a grid file, each a process with a folder of its own, on one machine or a cluster."""

from cnas.sweeps.comparison import UnfinishedError, comparison, conclude, missing
from cnas.sweeps.grid import Grid, read_grid
from cnas.sweeps.many import Job, last_line, run_many
from cnas.sweeps.random_cells import random_cells
from cnas.sweeps.table import Plan

__all__ = [
    "Grid",
    "Job",
    "Plan",
    "UnfinishedError",
    "comparison",
    "conclude",
    "last_line",
    "missing",
    "random_cells",
    "read_grid",
    "run_many",
]
