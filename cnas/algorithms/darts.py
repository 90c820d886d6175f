"""DARTS: the architecture is relaxed to a mixture whose weights α descend the validation loss beside the weights.

Liu et al. 2019: ``min_α L_valid(w*(α), α)`` with w* approximated by the weights of now (first order) or by one step of
them (second order, "unrolled"). The defaults are those of the authors' code for recurrent cells;
``docs/algorithms/darts.md`` tells where published codes differ.

The second order (Eq. 6 to 8) is taken as that code does: with ``g = ∇_w L_train(w, α)``, a virtual SGD step
``w' = w - η (m + c g + λ w)``, m what the optimiser's momentum adds and ``c`` the factor that clips g, the gradient of
``L_valid(w', α)`` is ``∇_α L_valid - η c ∇²_{α,w} L_train u`` with ``u = ∇_{w'} L_valid``; c counts as a constant, and
the product with u, which is clipped too, is a central difference.

Legend: E edges, O operations, p the mixture's weights, softmax(α).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from cnas.algorithms._relaxation import AlphaConfig, Relaxed
from cnas.algorithms.base import StepContext
from cnas.spaces.base import SearchSpace
from cnas.types import DARTS_PAPER, Routing

CLIP_EPS = 1e-6
"""What torch's clipping adds to a norm before it divides by it."""


class DARTS(Relaxed):
    """Differentiable architecture search, first and second order.

    Args:
        space: the space to search; only its decisions and mixtures are looked at.
        config: the hyper-parameters.
        seed: what the first α is drawn from.
    """

    paper = DARTS_PAPER

    @dataclass(frozen=True, kw_only=True)
    class Config(AlphaConfig):
        """Hyper-parameters; `darts` is the authors' code for recurrent cells."""

        learning_rate: float = 3e-3
        """Of the Adam on α (`darts`: 3e-3; NATS-Bench: 3e-4)."""
        betas: tuple[float, float] = (0.9, 0.999)
        """Decays of that Adam's moments (`darts`: 0.9, 0.999; NATS-Bench: 0.5, 0.999)."""
        order: Literal["before", "after"] = "before"
        """Whether α is updated before the weights of the same step or after them (`darts`: before)."""
        unrolled: bool = False
        """Second order: differentiate through one step of the weights."""
        weighted_inner: bool = False
        """Let the curriculum's weights multiply the training loss inside the unrolled step (Eq. 3b)."""
        unclamped_ratio: bool = False
        """Let the clipping factor of the second-order term exceed 1 (`darts`: yes)."""
        radius: float = 0.01
        """Norm of the step in the weights with which the second-order term is measured (`darts`: 0.01)."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self._require_positive("radius")

        @property
        def name(self) -> str:
            """``darts_v2`` where the weights' step is unrolled, else ``darts_v1``."""
            return "darts_v2" if self.unrolled else "darts_v1"

        @property
        def needs_sgd(self) -> bool:
            """The unrolled step is one of SGD, with momentum or without."""
            return self.unrolled

    config: Config

    def __init__(self, space: SearchSpace, config: Config, seed: int) -> None:
        super().__init__(space, config, seed)
        self.name = config.name

    @torch.no_grad()
    def route(self, generator: torch.Generator) -> Routing:  # noqa: ARG002
        """The soft mixture, without a graph: a weight step needs no gradient of α."""
        return self.alphas.routing()

    def gradient(self, context: StepContext) -> Tensor:
        """The gradient [E, O] of the soft mixture's validation loss, of first or second order (Eq. 5 to 8).

        The second order takes three gradients of L_train and one of L_valid, and fetches one: what a mixture's weights
        do to the losses is put together first, what α does to these weights comes last.
        """
        if not self.config.unrolled:
            return super().gradient(context)
        weights = self.alphas.weights()
        mixture = context.leaf(weights)
        stepped, clipping = self._virtual_step(context, mixture)
        first, *direction = context.valid(self._mixed(mixture), [mixture, *stepped.values()], weights=stepped)
        del stepped
        slope = first - context.learning_rate * clipping * self._second_order(context, mixture, direction)
        return torch.autograd.grad(weights, self.alphas.logits, context.fetch(slope).to(weights.dtype))[0]

    def _mixed(self, weights: Tensor) -> Routing:
        """The mixture of everything with ``weights`` [E, O]."""
        return Routing(weights[None], (self.alphas.active,))

    def _virtual_step(self, context: StepContext, mixture: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """(the weights after an SGD step, as leaves; the factor of the second-order term, a scalar)."""
        leaves = {name: weight.detach().requires_grad_() for name, weight in context.weights.items()}
        weighted, routing = self.config.weighted_inner, self._mixed(mixture.detach())
        gradients = context.train(routing, list(leaves.values()), weights=leaves, weighted=weighted)
        ratio = _clip_ratio(nn.utils.get_total_norm(gradients), context.clip_norm)
        stepped, clipped, momentum = {}, ratio.clamp(max=1.0), context.momentum()
        for (name, weight), gradient in zip(context.weights.items(), gradients, strict=True):
            step = (gradient * clipped).add_(weight.detach(), alpha=context.weight_decay)
            if name in momentum:
                step.add_(momentum[name].detach())
            stepped[name] = weight.detach().sub(step, alpha=context.learning_rate).requires_grad_()
        # Without a norm to clip to there is no ratio that could be published.
        return stepped, ratio if self.config.unclamped_ratio and math.isfinite(context.clip_norm) else clipped

    def _second_order(self, context: StepContext, mixture: Tensor, direction: Sequence[Tensor]) -> Tensor:
        """``∇²_{p,w} L_train u`` [E, O], p the weights of the mixture, u the ``direction``, clipped like a gradient."""
        norm, radius = nn.utils.get_total_norm(direction), self.config.radius
        # Of a norm of zero the difference is zero too.
        distance = radius / norm.clamp(min=torch.finfo(torch.float32).tiny)
        above, below = (self._moved(context, mixture, direction, sign * distance) for sign in (1, -1))
        clipped = norm * _clip_ratio(norm, context.clip_norm).clamp(max=1.0)
        return (above - below) * (clipped / (2 * radius))

    def _moved(self, context: StepContext, mixture: Tensor, direction: Sequence[Tensor], distance: Tensor) -> Tensor:
        """``∇_p L_train`` [E, O] with the weights moved by ``distance`` times ``direction``."""
        pairs = zip(context.weights.items(), direction, strict=True)
        moved = {name: weight.detach().addcmul(part, distance) for (name, weight), part in pairs}
        weighted = self.config.weighted_inner
        return context.train(self._mixed(mixture), [mixture], weights=moved, weighted=weighted)[0]


def _clip_ratio(norm: Tensor, clip_norm: float) -> Tensor:
    """What clipping multiplies gradients of a norm with where it is below 1.

    Example:
        >>> _clip_ratio(torch.tensor(5.0), 0.5)
        tensor(0.1000)
    """
    return clip_norm / (norm + CLIP_EPS)


NAMES = {"darts_v1": DARTS.Config(), "darts_v2": DARTS.Config(unrolled=True)}
