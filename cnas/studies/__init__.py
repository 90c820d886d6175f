"""Studies: a question, arms and rules written down beforehand, many paired runs, and a verdict."""

from cnas.studies.plan import Plan, read_plan
from cnas.studies.study import Study, run_study

__all__ = ["Plan", "Study", "read_plan", "run_study"]
