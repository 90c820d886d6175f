"""The curriculum: one weight v per unit of training data, as the state of a module.

Legend: K candidates, U units (N of them).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from cnas.errors import NonFiniteError, UserError
from cnas.random import HOST
from cnas.registry import Registry

SCORES: Registry[Callable[[Tensor], Tensor]] = Registry("curriculum.name", "cnas.curricula")
"""What a curriculum can be built on: from losses [K, U] to a score [U]."""
TRACED = 99
"""So many units have their weights in every row of a search."""


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """How the training data is reweighted.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """

    name: str = "uncertainty"
    """The score the weights are proportional to."""
    k: int = 5
    """How many subnets score the data; 0 is the plain algorithm (K, paper §4.5)."""
    refresh: Literal["epoch", "step"] = "epoch"
    """When: a pass over all data after each epoch (the authors' code) or each batch before its step (Algorithm 1)."""
    unit: Literal["sequence", "token", "sample"] = "sequence"
    """What has a weight: a chunk of text as a whole, every token of it, or (the one choice for images) a sample."""

    def __post_init__(self) -> None:
        SCORES.find(self.name)
        if self.k < 0:
            raise UserError(f"curriculum.k must be at least 0, got {self.k}")


def normalized_weights(sigma_U: Tensor) -> Tensor:
    """Weights proportional to σ with mean 1: v = N·σ/‖σ‖₁ (Zhou et al. 2022, Eq. 11).

    Args:
        sigma_U: non-negative scores [U], any floating dtype.

    Returns:
        v_U: float32 (float64 for float64 scores), v ≥ 0, Σv = U. All σ equal, or all zero, gives exactly 1: the paper
        states this limit, the formula alone is 0/0.

    Raises:
        NonFiniteError: where a score is NaN, infinite or negative.

    Example:
        >>> normalized_weights(torch.tensor([1.0, 3.0]))
        tensor([0.5000, 1.5000])
    """
    if not bool((torch.isfinite(sigma_U) & (sigma_U >= 0)).all()):
        raise NonFiniteError("uncertainty must be finite and at least 0 for every unit")
    dtype = torch.promote_types(sigma_U.dtype, torch.float32)
    if len(sigma_U) == 0 or bool(sigma_U.min() == sigma_U.max()):
        return torch.ones_like(sigma_U, dtype=dtype)
    # Dividing by the largest first keeps the result the same whatever the scale, subnormal numbers included.
    exact_U = sigma_U.to(HOST).double()
    scaled_U = exact_U / exact_U.max()
    return (scaled_U * (len(scaled_U) / scaled_U.sum())).to(dtype).to(sigma_U.device)


def traced_units(num_units: int, count: int = TRACED) -> list[int]:
    """The units whose weights a search records after every epoch: evenly spaced, the same in every run.

    Args:
        num_units: N.
        count: how many; all units where there are fewer.

    Raises:
        UserError: a number is below 1.

    Example:
        >>> traced_units(10, 4)
        [0, 2, 5, 7]
    """
    if num_units < 1 or count < 1:
        raise UserError(f"num_units and count must be at least 1, got {num_units} and {count}")
    traced = min(num_units, count)
    return [place * num_units // traced for place in range(traced)]


class Curriculum(nn.Module):
    """Weights of all units, 1 until the first update; they are a buffer, so every checkpoint holds them.

    Args:
        config: the score, and when weights are computed.
        num_units: how many units the training data has (N).

    Example:
        >>> curriculum = Curriculum(CurriculumConfig(k=2), num_units=2)
        >>> left_out = curriculum.update(torch.tensor([0, 1]), torch.tensor([[1.0, 9.0], [1.0, 9.0]]))
        >>> curriculum.weights(torch.tensor([[1, 1, 0]]))
        tensor([[1.5000, 1.5000, 0.5000]])
    """

    v: Tensor

    def __init__(self, config: CurriculumConfig, num_units: int) -> None:
        super().__init__()
        self.config = config
        self.score = SCORES.find(config.name)
        self.register_buffer("v", torch.ones(num_units))

    def weights(self, unit_ids: Tensor) -> Tensor:
        """The weight v of every position, float32, shape of ``unit_ids``."""
        return self.v[unit_ids]

    def update(self, unit_ids_U: Tensor, losses_KU: Tensor) -> int:
        """Reweight some units; their weights have mean 1 among themselves (Eq. 10-11).

        Args:
            unit_ids_U: int64 [U], each unit once; other units keep their weight.
            losses_KU: float [K, U], the losses of these units, one row per subnet.

        Returns:
            How many subnets were left out, because a loss of theirs is not finite. Where no other is left, no weight
            changes.
        """
        sound_K = losses_KU.isfinite().all(dim=1)
        left_out = int((~sound_K).sum())
        if left_out < len(losses_KU):
            kept_KU = losses_KU[sound_K] if left_out else losses_KU
            self.v[unit_ids_U] = normalized_weights(self.score(kept_KU)).to(self.v)
        return left_out

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether all data is scored after ``epoch`` (from 0) of ``epochs``: not after the last, which needs none."""
        return self.config.refresh == "epoch" and epoch + 1 < epochs

    def statistics(self) -> dict[str, float]:
        """Minimum, median and maximum of v, and the effective sample size (Σv)²/Σv² as a share of N."""
        v = self.v.to(HOST).double()
        return {
            "weight_min": float(v.min()),
            "weight_median": float(v.median()),
            "weight_max": float(v.max()),
            "effective_sample_size": float(v.sum() ** 2 / v.square().sum() / len(v)),
        }

    def traces(self) -> dict[str, list[float]]:
        """The weights v of the units that `traced_units` names, to six digits."""
        traced = self.v[traced_units(len(self.v))].to(HOST).double()
        return {"weight_traces": [float(f"{weight:.6g}") for weight in traced.tolist()]}


def build_curriculum(config: CurriculumConfig | None, num_units: int) -> Curriculum | None:
    """The curriculum of a configuration; None for the plain algorithm, which has no configuration, or K = 0.

    Args:
        config: the score, and when weights are computed; None is the plain algorithm.
        num_units: how many units the training data has (N).
    """
    return Curriculum(config, num_units) if config and config.k else None
