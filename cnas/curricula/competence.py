"""Competence: easy units first, by what is known of the data alone (Platanios et al. 2019).

The difficulty d of a unit is its length, or the mean of -log p(word) over its words; d̄ is the share of units that are
not harder. At the share t of the training that is over, competence is c(t) = min(1, sqrt(t/T · (1 - c₀²) + c₀²))
(Eq. 8 with p = 2), and the training uses the units with d̄ ≤ c(t): all of these have the same weight, the others 0.
No subnet scores anything, and the weights of the beginning are those of c₀.

Legend: U units of an update, N units in all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cnas.curricula.base import Curriculum, DatasetInfo, Progress, normalized_weights
from cnas.errors import UserError
from cnas.types import Paper


@dataclass(frozen=True, kw_only=True)
class Competence(Curriculum):
    """Trains on short or common text first; it needs no candidates, and words as data."""

    name: ClassVar[str] = "competence"
    paper: ClassVar[Paper | None] = Paper(
        "Competence-based Curriculum Learning for Neural Machine Translation",
        "Emmanouil Antonios Platanios, Otilia Stretcu, Graham Neubig, Barnabas Poczos, Tom M. Mitchell",
        2019,
        "https://aclanthology.org/N19-1119",
    )
    min_candidates: ClassVar[int] = 0
    needs_words: ClassVar[bool] = True

    num_candidates: int = 0
    """It scores nothing, so this is 0."""
    difficulty: Literal["rarity", "length"] = "rarity"
    """What makes a unit hard: rare words, or many of them. Chunks of text are equally long, so there rarity tells."""
    start: float = 0.01
    """The competence c₀ at the beginning: the share of the units that are used first."""
    duration: float = 0.5
    """The share T of the training after which all units are used."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("start", "duration"):
            self._require(name, 0 < getattr(self, name) <= 1, "above 0 and at most 1")

    def prepare(self, dataset_info: DatasetInfo, seed: int) -> None:  # noqa: ARG002
        """See `Curriculum.prepare`; the units are ranked, and get the weights of the beginning.

        Raises:
            UserError: the data is no text.
        """
        if dataset_info.read is None:
            raise UserError("curriculum.name competence needs words, so the data must be text")
        known_N = dataset_info.rarities if self.difficulty == "rarity" else dataset_info.lengths
        if self.difficulty == "length":
            self._require("difficulty", bool(known_N.min() < known_N.max()), "rarity where all units are equally long")
        # Rounded: what is equally hard may differ in the last bit, by the order in which it was added up.
        hard_N = known_N.round(decimals=9)
        ranks_N = torch.searchsorted(hard_N.sort().values, hard_N, right=True)
        self.state["difficulty"] = (ranks_N.double() / len(ranks_N)).float()
        self.v.copy_(normalized_weights(self._used(torch.arange(len(ranks_N)), self.start)))

    def competence(self, share: float) -> float:
        """c(t), the share of the units that are used.

        Args:
            share: of the training that is over.
        """
        return min(1.0, math.sqrt(share / self.duration * (1 - self.start**2) + self.start**2))

    def scores(self, unit_ids_U: Tensor, losses_KU: Tensor, progress: Progress) -> Tensor:  # noqa: ARG002
        """See `Curriculum.scores`."""
        return self._used(unit_ids_U, self.competence(progress.share))

    def _used(self, unit_ids_U: Tensor, competence: float) -> Tensor:
        """1 for units that are used, 0 for others; where all are too hard, the easiest are used."""
        difficulty_U = self.state["difficulty"][unit_ids_U]
        return (difficulty_U <= max(competence, float(difficulty_U.min()))).double()
