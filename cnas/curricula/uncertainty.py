"""Uncertainty: what K subnets find hard counts more (Zhou et al. 2022, Eq. 5-11).

If the K outputs for a unit are Gaussian around its label with one standard deviation σ, maximum likelihood sets
σ = sqrt(mean_k L_k). For cross-entropy the stationary point is sqrt(2/K · Σ L_k); the √2 cancels when the weights are
normalised (Eq. 11), so one formula serves both. v ∝ σ^γ; the paper has γ = 1 and K = 5.

Legend: K candidates, U units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cnas.curricula.base import Curriculum, mean_losses
from cnas.random import HOST
from cnas.types import Paper

CURRICULUM_NAS = Paper(
    title="Curriculum-NAS: Curriculum Weight-Sharing Neural Architecture Search",
    authors="Yuwei Zhou, Xin Wang, Hong Chen, Xuguang Duan, Chaoyu Guan, Wenwu Zhu",
    year=2022,
    url="https://doi.org/10.1145/3503161.3548271",
)


def uncertainty(losses_KU: Tensor) -> Tensor:
    """The uncertainty σ of every unit, Eq. 10.

    Args:
        losses_KU: losses of K candidates on U units, non-negative, any floating dtype.

    Returns:
        sigma_U: sqrt of the mean over K; float32, or float64 for float64 losses.

    Raises:
        NonFiniteError: where a loss is NaN or infinite.

    Example:
        >>> uncertainty(torch.tensor([[1.0, 8.0], [7.0, 10.0]]))
        tensor([2., 3.])
    """
    sigma_U = mean_losses(losses_KU).sqrt()
    return sigma_U.to(torch.promote_types(losses_KU.dtype, torch.float32)).to(losses_KU.device)


@dataclass(frozen=True, kw_only=True)
class Uncertainty(Curriculum):
    """What the scoring candidates are least sure of counts most: the curriculum of the paper."""

    name: ClassVar[str] = "uncertainty"
    paper: ClassVar[Paper | None] = CURRICULUM_NAS

    sharpness: float = 1.0
    """The power γ of the uncertainty: 1 is the paper's, 0 no curriculum, more than 1 tells hard from easy more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("sharpness", 0 <= self.sharpness < math.inf, "at least 0 and finite")

    def score(self, losses_KU: Tensor) -> Tensor:
        """See `Curriculum.score`."""
        sigma_U = uncertainty(losses_KU)
        if self.sharpness == 1:
            return sigma_U
        # Below 1, no power overflows.
        exact_U = sigma_U.to(HOST).double()
        return (exact_U / exact_U.max().clamp_min(torch.finfo(exact_U.dtype).tiny)) ** self.sharpness
