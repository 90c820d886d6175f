"""Disagreement: weights proportional to the spread of K subnets' losses, v ∝ sqrt(mean_k (L_k - mean L)²).

What some subnets know and others do not counts most, as in query by committee (Seung et al. 1992). The spread is the
population's standard deviation, so two candidates are enough.

Legend: K candidates, U units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cnas.curricula.base import Curriculum
from cnas.random import HOST


@dataclass(frozen=True, kw_only=True)
class Disagreement(Curriculum):
    """What the scoring candidates disagree on counts most; it needs two of them or more."""

    name: ClassVar[str] = "disagreement"
    min_candidates: ClassVar[int] = 2

    def score(self, losses_KU: Tensor) -> Tensor:
        """See `Curriculum.score`."""
        exact_KU = losses_KU.to(HOST).double()
        # Of equal losses the spread is 0, whatever a rounded mean makes of them.
        return (exact_KU - exact_KU[0]).std(dim=0, correction=0)
