"""The interface of a supernet: one network that holds the shared weights of every architecture of a space.

Legend: K candidates, B sequences, H hidden units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from cnas.errors import UserError
from cnas.spaces.pure import PureForward
from cnas.types import Batch, Output, Routing


class SuperNet(nn.Module, ABC):
    """A network that holds the shared weights of every architecture of a space; no α, no controller."""

    batch_statistics: ClassVar[bool] = False
    """Whether the rows of a batch are normalised together, so that a batch must not be cut into parts."""

    classifies: ClassVar[bool] = False
    """Whether every output has logits, so that accuracy counts."""

    scorings: ClassVar[tuple[str, ...]] = ("published",)
    """The ways to score a subnet with shared weights that `scored_by` knows, the published one first."""

    outcomes: int | None = None
    """How many words or classes a prediction chooses from; a step whose loss is far above that of guessing is bad."""

    @abstractmethod
    def forward(self, batch: Batch, routing: Routing) -> Output:
        """Run one routing on a batch; losses are unreduced float32."""

    def forward_many(
        self, batch: Batch, routings: Sequence[Routing], hidden_states: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Losses of K routings on one batch, without gradient or dropout.

        Args:
            batch: its own ``hidden_state`` and ``dropout_seeds`` are not used.
            routings: K of them.
            hidden_states: one per routing, as `zero_hidden_state` or the call before returned it.

        Returns:
            (losses float32 [K, *labels.shape], one hidden state per routing). This one is a plain loop; spaces batch K.
        """
        outputs = self.evaluated(batch, routings, hidden_states)
        return torch.stack([output.losses for output in outputs]), [output.hidden_state for output in outputs]

    @torch.no_grad()
    def evaluated(
        self, batch: Batch, routings: Sequence[Routing], hidden_states: Sequence[Tensor | None]
    ) -> list[Output]:
        """The outputs of K routings on one batch, one by one, without gradient or dropout.

        Args:
            batch: its own ``hidden_state`` and ``dropout_seeds`` are not used.
            routings: K of them.
            hidden_states: one per routing.
        """
        was_training = self.training
        self.eval()
        try:
            return [
                self(replace(batch, hidden_state=hidden_state, dropout_seeds=None), routing)
                for routing, hidden_state in zip(routings, hidden_states, strict=True)
            ]
        finally:
            self.train(was_training)

    @contextmanager
    def scored_by(self, scoring: str) -> Iterator[None]:
        """Score subnets in one of the `scorings` while the context lasts.

        Raises:
            UserError: there is no such scoring.
        """
        if scoring not in self.scorings:
            raise UserError(f"scoring must be one of {', '.join(self.scorings)}, got {scoring[:40]!r}")
        yield

    def draw_ahead(self, batch: Batch) -> None:
        """Draw what the forward pass on a batch will want, while the device is busy.

        Args:
            batch: which will be run.
        """

    def pure(self, batch: Batch, routing: Routing) -> PureForward | None:  # noqa: ARG002
        """The forward pass as a function of tensors, for a graph of the device; None where it must be run as it is.

        Args:
            batch: with its hidden state and dropout seeds.
            routing: what of the supernet is run.
        """
        return None

    def pure_many(
        self,
        batch: Batch,  # noqa: ARG002
        routings: Sequence[Routing],  # noqa: ARG002
        hidden_states: Sequence[Tensor | None],  # noqa: ARG002
    ) -> PureForward | None:
        """`forward_many` as a function of tensors: losses [K, *labels.shape], states [K, B, H]; None as in `pure`.

        Args:
            batch: its own ``hidden_state`` and ``dropout_seeds`` are not used.
            routings: K of them.
            hidden_states: one per routing.
        """
        return None

    def zero_hidden_state(self, rows: int) -> Tensor | None:  # noqa: ARG002
        """The hidden state before the first chunk of ``rows`` sequences; None where a space has none."""
        return None
