"""What a user gives to a run in Python, beside its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnas.training.evaluate import Compute, Preprocess


@dataclass(frozen=True)
class Hooks:
    """What a user gives to a run in Python, beside its configuration.

    Args:
        callbacks: `transformers.TrainerCallback`s of search and retraining.
        compute_metrics: as that of `transformers.Trainer`.
        preprocess_logits_for_metrics: likewise.
    """

    callbacks: Sequence[Any] = ()
    compute_metrics: Compute | None = None
    preprocess_logits_for_metrics: Preprocess | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """The two of `evaluate_network`."""
        return {name: getattr(self, name) for name in ("compute_metrics", "preprocess_logits_for_metrics")}


NONE = Hooks()
