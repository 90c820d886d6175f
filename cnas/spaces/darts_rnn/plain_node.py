"""One node that reads one source through one activation, with weight 1; its derivative is written out.

Legend: B rows, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cnas.spaces._gated_cell import ACTIVATIONS

_DERIVATIVES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "tanh": lambda grad, value, _: torch.ops.aten.tanh_backward(grad, value),
    "relu": lambda grad, _, update: torch.ops.aten.threshold_backward(grad, update, 0),
    "sigmoid": lambda grad, value, _: torch.ops.aten.sigmoid_backward(grad, value),
    "identity": lambda grad, _value, _update: grad,
}
"""From the gradient of f(u), f(u) and u to the gradient of u."""


class PlainNode:
    """``lerp(s, f(u), sigmoid(c))``.

    Args:
        activation: the name of f.
    """

    totals = None

    def __init__(self, activation: str) -> None:
        self.activation = activation

    def run(self, sources_1BH: Tensor, gates_1BH: Tensor, update_1BH: Tensor, out_BH: Tensor) -> None:
        """Write the node to ``out``; ``gates`` is replaced by its sigmoid, as `differentiate` wants it."""
        value = ACTIVATIONS[self.activation](update_1BH[0])
        torch.lerp(sources_1BH[0], value, gates_1BH.sigmoid_()[0], out=out_BH)

    def gather(self, steps: int) -> None:
        """There are no weights to gather gradients of."""

    def gathered(self) -> None:
        """There are none."""

    def differentiate(
        self,
        sources_1BH: Tensor,
        gates_1BH: Tensor,
        update_1BH: Tensor,
        grad_BH: Tensor,
        into: tuple[Tensor, Tensor],
    ) -> Tensor:
        """From the gradient of the node to that of its source, [1, B, H]; ``into`` takes those of carry and update."""
        value = ACTIVATIONS[self.activation](update_1BH)
        into_value = grad_BH * gates_1BH
        into_source = grad_BH - into_value
        torch.mul((value - sources_1BH).mul_(gates_1BH), into_source, out=into[0])
        into[1].copy_(_DERIVATIVES[self.activation](into_value, value, update_1BH))
        return into_source
