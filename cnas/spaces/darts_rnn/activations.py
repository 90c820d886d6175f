"""Several activations of one tensor, and their derivatives, side by side in memory that is given.

tanh takes three times as long as sigmoid. Where both are asked for it is made of it, without loss beside the sigmoid
that it is added to: with q = sigmoid(u), m = q - q² and e = 1/2 - m

    sigmoid' = m        tanh = (q - 1/2)/e        tanh' = (m/e)²

Legend: S sources, K activations, D those but identity, B rows, H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Activations:
    """f(u) and f'(u) of every name.

    Args:
        names: of the K activations.
        values_SKBH: takes f(u), in their order.
        slopes_SDBH: takes f'(u) of those whose slope is no constant, in their order.
        rest_SBH: to work with.
    """

    def __init__(self, names: Sequence[str], values_SKBH: Tensor, slopes_SDBH: Tensor, rest_SBH: Tensor) -> None:
        self.values = dict(zip(names, values_SKBH.unbind(1), strict=True))
        self.slopes = dict(zip(curved(names), slopes_SDBH.unbind(1), strict=True))
        self.rest = rest_SBH
        self.shared = {"tanh", "sigmoid"} <= set(names)
        self.half, self.one = rest_SBH.new_full((), 0.5), rest_SBH.new_ones(())

    def evaluate(self, update_SBH: Tensor) -> Tensor:
        """Fill the values; returns u where it lies best for `differentiate`."""
        if "identity" in self.values:
            update_SBH = self.values["identity"].copy_(update_SBH)
        if "sigmoid" in self.values:
            share = torch.sigmoid(update_SBH, out=self.values["sigmoid"])
            slope = torch.addcmul(share, share, share, value=-1, out=self.slopes["sigmoid"])
        if self.shared:
            torch.sub(self.half, slope, out=self.rest)
            torch.sub(share, 0.5, out=self.values["tanh"]).div_(self.rest)
        elif "tanh" in self.values:
            torch.tanh(update_SBH, out=self.values["tanh"])
        if "relu" in self.values:
            torch.clamp_min(update_SBH, 0, out=self.values["relu"])
        return update_SBH

    def differentiate(self, update_SBH: Tensor) -> None:
        """Fill the slopes, after the values, from what `evaluate` returned."""
        if self.shared:
            torch.div(self.slopes["sigmoid"], self.rest, out=self.slopes["tanh"]).square_()
        elif "tanh" in self.values:
            value = self.values["tanh"]
            torch.addcmul(self.one, value, value, value=-1, out=self.slopes["tanh"])
        if "relu" in self.values:
            ones = self.one.expand_as(update_SBH)
            torch.ops.aten.threshold_backward.grad_input(ones, update_SBH, 0, grad_input=self.slopes["relu"])


def curved(names: Sequence[str]) -> list[str]:
    """Those whose slope depends on u."""
    return [name for name in names if name != "identity"]
