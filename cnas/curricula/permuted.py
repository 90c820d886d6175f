"""Permuted: the weights of `uncertainty`, each given to another unit; a control that is no method of anybody.

The weights have the same spread, but no longer belong to the data: what such a run gains, reweighting as such does.
One permutation is drawn for each seed and stays.

Legend: K candidates, U units of an update, N units in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cnas.curricula.base import DatasetInfo, Progress
from cnas.curricula.uncertainty import Uncertainty
from cnas.random import generator


@dataclass(frozen=True, kw_only=True)
class Permuted(Uncertainty):
    """The weights of uncertainty, each given to another unit: the control of an experiment."""

    name: ClassVar[str] = "permuted"

    def prepare(self, dataset_info: DatasetInfo, seed: int) -> None:
        """See `Curriculum.prepare`; the place of every unit is drawn."""
        order_N = torch.randperm(dataset_info.num_units, generator=generator(seed, "curriculum/permutation"))
        self.state["order"] = order_N

    def scores(self, unit_ids_U: Tensor, losses_KU: Tensor, progress: Progress) -> Tensor:  # noqa: ARG002
        """See `Curriculum.scores`; of some units alone, the same permutation as far as it concerns them."""
        scores_U = self.score(losses_KU)
        receivers_U, givers_U = unit_ids_U.argsort(), self.state["order"][unit_ids_U].argsort()
        return scores_U.new_empty(scores_U.shape).index_copy_(0, receivers_U, scores_U[givers_U])
