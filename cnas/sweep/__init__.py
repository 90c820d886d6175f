"""Sweeps: many runs from a grid file, each a process with a folder of its own, on one machine or a cluster."""

from cnas.sweep.comparison import UnfinishedError, comparison, conclude, missing
from cnas.sweep.grid import Grid, read_grid
from cnas.sweep.many import Job, run_many
from cnas.sweep.plan import Plan, random_cells
from cnas.sweep.plan import Rows as Rows
from cnas.sweep.process import last_line
from cnas.sweep.table_recipe import TableGroups, run_table, table_groups, table_parser, table_plan

__all__ = [
    "Grid",
    "Job",
    "Plan",
    "TableGroups",
    "UnfinishedError",
    "comparison",
    "conclude",
    "last_line",
    "missing",
    "random_cells",
    "read_grid",
    "run_many",
    "run_table",
    "table_groups",
    "table_parser",
    "table_plan",
]
