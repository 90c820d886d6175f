"""Loss: weights proportional to the mean loss of K subnets, v ∝ mean_k L_k.

It is `uncertainty` without the root: the square of Zhou et al. 2022, Eq. 10, and the simplest form of preferring
what is hard, as in the online batch selection of Loshchilov and Hutter (2015), who rank by loss.

Legend: K candidates, U units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cnas.curricula.base import Curriculum, mean_losses


@dataclass(frozen=True, kw_only=True)
class Loss(Curriculum):
    """What the scoring candidates find hard counts more, in proportion to their mean loss."""

    name: ClassVar[str] = "loss"

    def score(self, losses_KU: Tensor) -> Tensor:
        """See `Curriculum.score`."""
        return mean_losses(losses_KU)
