"""The report on runs: reads their folders, draws, and lays everything out as one page."""

from cnas.reports.page import Page, render
from cnas.reports.record import RunRecord, formatted, read_run
from cnas.reports.tables import Comparison, Table
from cnas.reports.weights import Sample, SampleWeights

__all__ = ["Comparison", "Page", "RunRecord", "Sample", "SampleWeights", "Table", "formatted", "read_run", "render"]
