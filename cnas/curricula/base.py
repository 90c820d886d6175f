"""The interface of curricula: how the training data is reweighted while a network, or a supernet, is trained.

The fields of a curriculum are its configuration; its state is one dictionary of tensors, made by `Curriculum.setup` and
held by every checkpoint.

Legend: K candidates, U units of an update, N units in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from cnas.curricula._known import DatasetInfo, Progress
from cnas.errors import NonFiniteError, UserError
from cnas.fields import check_fields, from_dict, to_dict
from cnas.random import HOST, to_device
from cnas.types import Paper

TRACED = 99
"""So many units have their weights in every row of a search."""


def normalized_weights(scores_U: Tensor) -> Tensor:
    """Weights proportional to scores with mean 1: v = N·σ/‖σ‖₁ (Zhou et al. 2022, Eq. 11).

    Args:
        scores_U: non-negative scores [U], any floating dtype.

    Returns:
        v_U: float32 (float64 for float64 scores), v ≥ 0, Σv = U. All scores equal, or all zero, give exactly 1: the
        paper states this limit, the formula alone is 0/0.

    Raises:
        NonFiniteError: where a score is NaN, infinite or negative.

    Example:
        >>> normalized_weights(torch.tensor([1.0, 3.0]))
        tensor([0.5000, 1.5000])
    """
    if not bool((torch.isfinite(scores_U) & (scores_U >= 0)).all()):
        raise NonFiniteError("the score of every unit must be finite and at least 0")
    dtype = torch.promote_types(scores_U.dtype, torch.float32)
    if len(scores_U) == 0 or bool(scores_U.min() == scores_U.max()):
        return torch.ones_like(scores_U, dtype=dtype)
    # Dividing by the largest first keeps the result the same whatever the scale, subnormal numbers included.
    exact_U = scores_U.to(HOST).double()
    scaled_U = exact_U / exact_U.max()
    return (scaled_U * (len(scaled_U) / scaled_U.sum())).to(dtype).to(scores_U.device)


def mean_losses(losses_KU: Tensor) -> Tensor:
    """The mean loss of every unit over K candidates, float64 [U] in host memory, at least 0.

    Raises:
        NonFiniteError: where a loss is NaN or infinite.
    """
    if not bool(torch.isfinite(losses_KU).all()):
        raise NonFiniteError("a candidate's loss is NaN or infinite, so the curriculum cannot reweight the data")
    # float64, in host memory since some accelerators have none: the mean of large float32 losses may not overflow, nor
    # tiny ones vanish.
    return losses_KU.to(HOST).double().mean(dim=0).clamp_min(0)


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


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """Base of all curricula: gives every unit of the training data a weight v, 1 on average.

    A subclass has a ``name`` and a `score`, to which the weights are proportional; one that needs more than losses
    has `scores` instead, and keeps what it remembers in ``state``.

    Attributes:
        name: under which `cnas.curricula` offers it.
        paper: where it was published; None where nowhere.
        min_candidates: so many candidates it needs; 0 where it looks at no losses.
        needs_words: whether units must be text.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """

    name: ClassVar[str]
    paper: ClassVar[Paper | None] = None
    min_candidates: ClassVar[int] = 1
    needs_words: ClassVar[bool] = False
    renamed: ClassVar[Mapping[str, str]] = {"k": "num_candidates"}
    """What a field is called as well, in flags and in files of 0.1.0."""

    num_candidates: int = 5
    """How many subnets score the data (K, paper §4.5); 0 is the plain algorithm."""
    refresh: Literal["epoch", "step"] = "epoch"
    """When: a pass over all data after each epoch (the authors' code) or each batch before its step (Algorithm 1)."""
    every: int = 1
    """Only every so many epochs, or steps where ``refresh`` says so, are weights refreshed."""
    source: Literal["candidates", "trained"] = "candidates"
    """Whose losses count: those of K candidates, or those of the paths that the step trains itself, which cost nothing;
    with ``refresh`` step, of algorithms that train several."""
    unit: Literal["sequence", "token", "sample"] = "sequence"
    """What has a weight: a chunk of text as a whole, every token of it, or (the one choice for images) a sample."""
    state: dict[str, Tensor] = field(init=False, repr=False, compare=False, default_factory=dict)
    """Tensors by name, which every checkpoint holds; ``v`` is float32 [N]. Empty until `setup`."""

    def __post_init__(self) -> None:
        check_fields(self, "curriculum")
        least = self.min_candidates
        self._require("num_candidates", self.num_candidates >= 0, "at least 0")
        self._require("num_candidates", least > 0 or self.num_candidates == 0, f"0 for {self.name}, which needs none")
        enough = self.num_candidates in {0, *range(least, self.num_candidates + 1)}
        self._require("num_candidates", enough, f"at least {least} for {self.name}, or 0")
        self._require("every", self.every >= 1, "at least 1")
        scores = self.source == "candidates" or least > 0
        self._require("source", scores, f"candidates for {self.name}, which looks at no losses")
        fits = self.source == "candidates" or self.refresh == "step"
        self._require("refresh", fits, "step where curriculum.source is trained")

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        """Raise a `UserError` with the field's value and what is allowed, unless it holds."""
        if not holds:
            raise UserError(f"curriculum.{name} must be {allowed}, got {getattr(self, name)!r}")

    def to_json(self) -> dict[str, Any]:
        """The name and the fields, as ``config.json`` holds them."""
        return {"name": self.name, **to_dict(self, "curriculum")}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, without the name; fields that a file of an older version lacks have their default.

        Raises:
            UserError: a field is unknown or wrong.
        """
        return from_dict(
            cls, {cls.renamed.get(name, name): value for name, value in values.items()}, "curriculum", cls()
        )

    @property
    def active(self) -> bool:
        """Whether it does anything: with no candidates, one that needs some is the plain algorithm."""
        return self.num_candidates > 0 or self.min_candidates == 0

    @property
    def v(self) -> Tensor:
        """The weights of all units, float32 [N]."""
        return self.state["v"]

    def setup(
        self, num_units: int, dataset_info: DatasetInfo | None = None, seed: int = 0, device: torch.device = HOST
    ) -> Self:
        """A copy that is ready for a training: all weights are 1.

        Args:
            num_units: how many units the training data has (N).
            dataset_info: what is known of these.
            seed: of the run.
            device: where weights are looked up.

        Example:
            >>> from cnas.curricula import Uncertainty
            >>> curriculum = Uncertainty(num_candidates=2).setup(num_units=2)
            >>> losses_KU, progress = torch.tensor([[1.0, 9.0], [1.0, 9.0]]), Progress(0, 3, step=10)
            >>> left_out = curriculum.update(torch.tensor([0, 1]), losses_KU, progress)
            >>> curriculum.weights(torch.tensor([[1, 1, 0]]))
            tensor([[1.5000, 1.5000, 0.5000]])
        """
        ready = replace(self)
        ready.state["v"] = torch.ones(num_units, device=device)
        ready.prepare(dataset_info or DatasetInfo(num_units), seed)
        return ready

    def prepare(self, dataset_info: DatasetInfo, seed: int) -> None:
        """Make what ``state`` holds beside the weights; nothing by default.

        Args:
            dataset_info: what is known of the units.
            seed: of the run.
        """

    def weights(self, unit_ids: Tensor) -> Tensor:
        """The weight v of every position, float32, shape of ``unit_ids``."""
        return self.v[unit_ids]

    def due(self, progress: Progress) -> bool:
        """Whether all data is scored after the epoch: not after the last, which needs none."""
        last = progress.epoch + 1 >= progress.epochs
        return self.refresh == "epoch" and not last and (progress.epoch + 1) % self.every == 0

    def source_in_step(self, progress: Progress) -> str | None:
        """Whose losses reweight the batch of a step, see ``source``; None where it keeps the weights it has."""
        return self.source if self.refresh == "step" and progress.step % self.every == 0 else None

    def update(self, unit_ids_U: Tensor, losses_KU: Tensor, progress: Progress) -> int:
        """Reweight some units; their weights have mean 1 among themselves (Eq. 10-11).

        Args:
            unit_ids_U: int64 [U] in host memory, each unit once; other units keep their weight.
            losses_KU: float [K, U], there too, the losses of these units, one row per candidate: subnets of a
                supernet, or the network that is trained itself.
            progress: of the training.

        Returns:
            How many candidates were left out, because a loss of theirs is not finite. Where too few others are left, no
            weight changes.
        """
        finite_K = losses_KU.isfinite().all(dim=1)
        left_out = int((~finite_K).sum())
        if len(losses_KU) - left_out >= self.min_candidates:
            kept_KU = losses_KU[finite_K] if left_out else losses_KU
            new = normalized_weights(self.scores(unit_ids_U, kept_KU, progress)).to(self.v.dtype)
            self.v[to_device(unit_ids_U, self.v.device)] = to_device(new, self.v.device)
        return left_out

    def scores(self, unit_ids_U: Tensor, losses_KU: Tensor, progress: Progress) -> Tensor:  # noqa: ARG002
        """What the weights of an update are proportional to, [U], at least 0: `score` of the losses by default.

        Args:
            unit_ids_U: int64 [U], which units.
            losses_KU: finite losses of these.
            progress: of the training.
        """
        return self.score(losses_KU)

    def score(self, losses_KU: Tensor) -> Tensor:
        """What the weights of an update are proportional to, [U], at least 0, where the losses alone decide it."""
        raise NotImplementedError

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

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint holds."""
        return dict(self.state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        for name, value in self.state.items():
            value.copy_(state[name])
