"""SuperLoss: units with a loss above the average count less, those below it more (Castells et al. 2020).

Their loss of a unit is min_σ (L - τ)·σ + λ·(log σ)², whose minimum is at σ = exp(-W(max(-2/e, β) / 2)) with
β = (L - τ)/λ and Lambert's W (Eq. 5-6). σ is the weight; here it is normalised to mean 1. L is the mean loss over the K
candidates, τ the running mean of L, in which the past counts `decay`, and λ the strength of the regularisation.

Legend: K candidates, U units of an update.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cnas.curricula.base import Curriculum, DatasetInfo, Progress, mean_losses
from cnas.types import Paper


def lambert_w(x: Tensor) -> Tensor:
    """The principal branch of Lambert's W, the inverse of w·e^w.

    Args:
        x: float64, at least -1/e (what is below counts as -1/e).

    Example:
        >>> lambert_w(torch.tensor([0.0, 2.718281828459045], dtype=torch.float64))
        tensor([0., 1.], dtype=torch.float64)
    """
    from scipy.special import lambertw

    # At the branch point itself, or below it, scipy has no real value.
    return torch.from_numpy(lambertw(x.numpy()).real).nan_to_num(nan=-1.0)


@dataclass(frozen=True, kw_only=True)
class SuperLoss(Curriculum):
    """What is harder than the average so far counts less, against noisy data."""

    name: ClassVar[str] = "superloss"
    paper: ClassVar[Paper | None] = Paper(
        "SuperLoss: A Generic Loss for Robust Curriculum Learning",
        "Thibault Castells, Philippe Weinzaepfel, Jerome Revaud",
        2020,
        "https://papers.nips.cc/paper/2020/hash/2cfa8f9e50e0f510ede9d12338a5f564-Abstract.html",
    )

    strength: float = 1.0
    """λ: the larger, the closer the weights stay to 1."""
    decay: float = 0.9
    """How much of the running mean τ is kept when new losses come in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("strength", 0 < self.strength < math.inf, "above 0 and finite")
        self._require("decay", 0 <= self.decay < 1, "at least 0 and below 1")

    def prepare(self, dataset_info: DatasetInfo, seed: int) -> None:  # noqa: ARG002
        """See `Curriculum.prepare`; no loss was seen yet."""
        self.state["tau"] = torch.full((), math.nan, dtype=torch.float64)

    def scores(self, unit_ids_U: Tensor, losses_KU: Tensor, progress: Progress) -> Tensor:  # noqa: ARG002
        """See `Curriculum.scores`."""
        losses_U, tau = mean_losses(losses_KU), self.state["tau"]
        mean = losses_U.mean()
        tau.copy_(mean if tau.isnan() else self.decay * tau + (1 - self.decay) * mean)
        beta_U = ((losses_U - tau) / self.strength).clamp_min(-2 / math.e)
        return (-lambert_w(beta_U / 2)).exp()
