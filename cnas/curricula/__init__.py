"""Curricula: from the losses of K subnets to one weight per unit of training data."""

from cnas.curricula.base import Curriculum, CurriculumConfig, build_curriculum, normalized_weights, traced_units
from cnas.curricula.uncertainty import uncertainty

__all__ = ["Curriculum", "CurriculumConfig", "build_curriculum", "normalized_weights", "traced_units", "uncertainty"]
