"""The report on runs: reads their folders, draws, and lays everything out as one page."""

from cnas.export.report.page import Page, render
from cnas.export.report.record import RunRecord, read_run, spoken
from cnas.export.report.tables import Comparison, Table
from cnas.export.report.weights import Sample, SampleWeights

__all__ = ["Comparison", "Page", "RunRecord", "Sample", "SampleWeights", "Table", "read_run", "render", "spoken"]
