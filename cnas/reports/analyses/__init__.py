"""The paper's analyses, drawn from run folders after the runs: numbers as JSON, figures as PNG and SVG."""

from cnas.reports.analyses.files import save
from cnas.reports.analyses.k_sweep import KPoint, KSweep, draw_k_sweep, k_sweep
from cnas.reports.analyses.ranking_traces import RankingTraces, draw_ranking_traces, ranking_traces
from cnas.reports.analyses.similarity import (
    Misclassified,
    Similarity,
    draw_similarity,
    read_misclassified,
    similarity,
    write_misclassified,
)
from cnas.reports.analyses.weight_groups import WeightGroups, draw_weight_groups, weight_groups

__all__ = [
    "KPoint",
    "KSweep",
    "Misclassified",
    "RankingTraces",
    "Similarity",
    "WeightGroups",
    "draw_k_sweep",
    "draw_ranking_traces",
    "draw_similarity",
    "draw_weight_groups",
    "k_sweep",
    "ranking_traces",
    "read_misclassified",
    "save",
    "similarity",
    "weight_groups",
    "write_misclassified",
]
