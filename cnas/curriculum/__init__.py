"""Curricula: from the losses of K subnets to one weight per unit of training data."""

from cnas.curriculum._sigma import uncertainty
from cnas.curriculum._traces import traced_units
from cnas.curriculum._weights import normalized_weights
from cnas.curriculum.base import Curriculum, CurriculumConfig, build_curriculum

__all__ = ["Curriculum", "CurriculumConfig", "build_curriculum", "normalized_weights", "traced_units", "uncertainty"]
