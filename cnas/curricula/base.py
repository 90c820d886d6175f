"""The curriculum: one weight per unit of training data, held as state.

Legend: K candidates, U units.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

import cnas.curricula
from cnas.curricula._traces import traced_units
from cnas.curricula._weights import normalized_weights
from cnas.errors import UserError
from cnas.random import HOST


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """How the training data is weighed.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """

    name: str = "uncertainty"
    """The score the weights are proportional to."""
    k: int = 5
    """How many subnets judge the data; 0 is the plain algorithm (K, paper §4.5)."""
    refresh: Literal["epoch", "step"] = "epoch"
    """When: a pass over all data after each epoch (the authors' code) or each batch before its step (Algorithm 1)."""
    unit: Literal["sequence", "token", "sample"] = "sequence"
    """What is weighed: a chunk of text as a whole, every token of it, or (the one choice for images) a sample."""

    def __post_init__(self) -> None:
        if self.name not in scores():
            raise UserError(f"curriculum.name must be one of {', '.join(sorted(scores()))}, got {self.name!r}")
        if self.k < 0:
            raise UserError(f"curriculum.k must be at least 0, got {self.k}")


def scores() -> dict[str, Callable[[Tensor], Tensor]]:
    """All scores by name, from every module of this package that has a table ``NAMES``."""
    found: dict[str, Callable[[Tensor], Tensor]] = {}
    for module in pkgutil.iter_modules(cnas.curricula.__path__):
        if module.name != "base":
            found |= getattr(importlib.import_module(f"cnas.curricula.{module.name}"), "NAMES", {})
    return found


class Curriculum(nn.Module):
    """Weights of all units, 1 until the first update; they are a buffer, so every checkpoint holds them.

    Args:
        config: what to weigh by, and when.
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
        self.score = scores()[config.name]
        self.register_buffer("v", torch.ones(num_units))

    def weights(self, unit_ids: Tensor) -> Tensor:
        """The weight v of every position, float32, shape of ``unit_ids``."""
        return self.v[unit_ids]

    def update(self, unit_ids_U: Tensor, losses_KU: Tensor) -> int:
        """Weigh units anew; their weights have mean 1 among themselves (Eq. 10-11).

        Args:
            unit_ids_U: int64 [U], each unit once; other units keep their weight.
            losses_KU: float [K, U], the losses of these units, one row per judging subnet.

        Returns:
            How many judges were left out, because a loss of theirs is not finite. Where no other is left, no weight
            changes.
        """
        sound_K = losses_KU.isfinite().all(dim=1)
        left_out = int((~sound_K).sum())
        if left_out < len(losses_KU):
            judged_KU = losses_KU[sound_K] if left_out else losses_KU
            self.v[unit_ids_U] = normalized_weights(self.score(judged_KU)).to(self.v)
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
    """The curriculum, or None where there is none or nobody would judge (K = 0): the plain algorithm.

    Args:
        config: what to weigh by, and when; None is the plain algorithm.
        num_units: how many units the training data has (N).
    """
    return Curriculum(config, num_units) if config and config.k else None
