"""Curricula: from the losses of K subnets to one weight per unit of training data."""

from cnas.curricula._sigma import uncertainty
from cnas.curricula._traces import traced_units
from cnas.curricula._weights import normalized_weights
from cnas.curricula.base import Curriculum, CurriculumConfig, build_curriculum

__all__ = ["Curriculum", "CurriculumConfig", "build_curriculum", "normalized_weights", "traced_units", "uncertainty"]
