"""The gradient of α through one step of the weights (Liu et al. 2019, Eq. 6 to 8), as the DARTS code for RNNs takes it.

With ``g = ∇_w L_train(w, α)``, a virtual SGD step ``w' = w - η (m + c g + λ w)``, m what the optimiser's momentum adds
and ``c`` the factor that clips g, the gradient of ``L_valid(w', α)`` is ``∇_α L_valid - η c ∇²_{α,w} L_train u`` with
``u = ∇_{w'} L_valid``; c counts as a constant, and the product with u, which is clipped too, is a central difference.

Legend: E edges, O operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnas.algorithms._alphas import Alphas
from cnas.algorithms.base import StepContext

CLIP_EPS = 1e-6
"""What torch's clipping adds to a norm before it divides by it."""


@dataclass(frozen=True, kw_only=True)
class Unrolled:
    """How the second-order gradient is taken.

    Args:
        radius: norm of the finite difference's step in the weights (the DARTS code: 0.01).
        weighted: let the curriculum's weights multiply L_train (Eq. 3b of Zhou et al. 2022).
        unclamped: let c scale the second-order term even where it is above 1, as the DARTS code for RNNs does.
    """

    radius: float = 0.01
    weighted: bool = False
    unclamped: bool = False

    def gradient(self, context: StepContext, alphas: Alphas) -> Tensor:
        """The gradient [E, O] with respect to ``alphas.logits``; three gradients of L_train and one of L_valid."""
        stepped, clipping = self._virtual_step(context, alphas)
        first, *direction = context.valid(alphas.routing(), [alphas.logits, *stepped.values()], weights=stepped)
        del stepped
        second = self._second_order(context, alphas, direction)
        return first - context.learning_rate * clipping * second

    def _virtual_step(self, context: StepContext, alphas: Alphas) -> tuple[dict[str, Tensor], float]:
        """(the weights after an SGD step, as leaves; the factor of the second-order term)."""
        leaves = {name: weight.detach().requires_grad_() for name, weight in context.weights.items()}
        with torch.no_grad():
            routing = alphas.routing()
        gradients = context.train(routing, list(leaves.values()), weights=leaves, weighted=self.weighted)
        ratio = clip_ratio(gradients, context.clip_norm)
        stepped = {}
        for (name, weight), gradient in zip(context.weights.items(), gradients, strict=True):
            step = (gradient * min(1.0, ratio)).add_(weight.detach(), alpha=context.weight_decay)
            if name in context.momentum:
                step.add_(context.momentum[name].detach())
            stepped[name] = weight.detach().sub(step, alpha=context.learning_rate).requires_grad_()
        # Without a norm to clip to there is no ratio that could be published.
        return stepped, ratio if self.unclamped and ratio < math.inf else min(1.0, ratio)

    def _second_order(self, context: StepContext, alphas: Alphas, direction: Sequence[Tensor]) -> Tensor:
        """``∇²_{α,w} L_train u`` [E, O], with u the ``direction``, clipped like a gradient."""
        norm = float(nn.utils.get_total_norm(direction))
        if norm < torch.finfo(torch.float32).tiny:
            return torch.zeros_like(alphas.logits)
        above, below = (self._moved(context, alphas, direction, sign * self.radius / norm) for sign in (1, -1))
        clipped = norm * min(1.0, clip_ratio(direction, context.clip_norm))
        return (above - below) * (clipped / (2 * self.radius))

    def _moved(self, context: StepContext, alphas: Alphas, direction: Sequence[Tensor], distance: float) -> Tensor:
        """``∇_α L_train`` [E, O] with the weights moved by ``distance`` times ``direction``."""
        pairs = zip(context.weights.items(), direction, strict=True)
        moved = {name: weight.detach().add(part, alpha=distance) for (name, weight), part in pairs}
        return context.train(alphas.routing(), [alphas.logits], weights=moved, weighted=self.weighted)[0]


def clip_ratio(gradients: Sequence[Tensor], clip_norm: float) -> float:
    """What clipping multiplies gradients with where it is below 1.

    Example:
        >>> round(clip_ratio([torch.tensor([3.0, 4.0])], 0.5), 4)
        0.1
    """
    return clip_norm / (float(nn.utils.get_total_norm(gradients)) + CLIP_EPS)
