"""Self-paced: easy units first, harder ones as the training goes on (Kumar et al. 2010, softened by Jiang et al. 2014).

Kumar et al. minimise Σ v_i L_i - λ Σ v_i, so v_i is 1 where L_i < λ, and λ grows. The linear soft weighting of Jiang et
al. 2014 (Eq. 6) is v_i = max(0, 1 - L_i/λ). L is the mean loss over the K candidates. λ is a quantile of the losses at
hand: `start` of the units in the beginning, all but the hardest in the end. Weights are normalised to mean 1.

Legend: K candidates, U units of an update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cnas.curricula.base import Curriculum, Progress, mean_losses
from cnas.types import Paper


@dataclass(frozen=True, kw_only=True)
class SelfPaced(Curriculum):
    """What is easy now counts most, and what is too hard for now not at all."""

    name: ClassVar[str] = "self_paced"
    paper: ClassVar[Paper | None] = Paper(
        "Self-Paced Learning for Latent Variable Models",
        "M. Pawan Kumar, Benjamin Packer, Daphne Koller",
        2010,
        "https://papers.nips.cc/paper/2010/hash/e57c6b956a6521b28495f2886ca0977a-Abstract.html",
    )

    start: float = 0.5
    """The share of the units that count in the beginning, as in the experiments of Kumar et al.; it grows to 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("start", 0 < self.start <= 1, "above 0 and at most 1")

    def scores(self, unit_ids_U: Tensor, losses_KU: Tensor, progress: Progress) -> Tensor:  # noqa: ARG002
        """See `Curriculum.scores`."""
        losses_U = mean_losses(losses_KU)
        share = self.start + (1 - self.start) * progress.share
        # Sorted here: `Tensor.quantile` takes 16 million values at most.
        threshold = losses_U.sort().values[round(share * (len(losses_U) - 1))]
        if threshold <= losses_U.min():
            return (losses_U <= threshold).double()
        return (1 - losses_U / threshold).clamp_min(0)
