"""One node of the search cell and its derivative: a gate over one activation, or over a weighted sum of several.

With ``[c, u] = (s_j·m)·W`` for every source j, c standing for sigmoid(c) from here on:

    s = Σ_j Σ_k p_jk·(s_j + c_j·(f_k(u_j) - s_j)) = Σ_j lerp(P_j·s_j, F_j, c_j)
    P_j = Σ_k p_jk        F_j = Σ_k p_jk·f_k(u_j)

The activations are mixed before the gate, so that there is one gate a source and not one an activation. The derivative
is written out: what is cheap is computed again rather than kept. Small operations cost more by their number than by
their work, so what is mixed lies side by side and takes one product.

tanh takes three times as long as sigmoid. Where both are asked for it is made of it, without loss beside the sigmoid
that it is added to: with q = sigmoid(u), m = q - q² and e = 1/2 - m

    sigmoid' = m        tanh = (q - 1/2)/e        tanh' = (m/e)²

Legend: S sources, K activations, D those but identity, B rows, H hidden units, M = B·H.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cnas.spaces._gated_cell import ACTIVATIONS

_SPARE = 3

_DERIVATIVES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "tanh": lambda grad, value, _: torch.ops.aten.tanh_backward(grad, value),
    "relu": lambda grad, _, update: torch.ops.aten.threshold_backward(grad, update, 0),
    "sigmoid": lambda grad, value, _: torch.ops.aten.sigmoid_backward(grad, value),
    "identity": lambda grad, _value, _update: grad,
}
"""From the gradient of f(u), f(u) and u to the gradient of u."""


class Activations:
    """Several activations of one tensor and their derivatives, computed into memory that the caller gives.

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
        """Compute f(u) into the given memory; returns u where `differentiate` reads it."""
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
        """Compute f'(u), after `evaluate` and from what it returned."""
        if self.shared:
            torch.div(self.slopes["sigmoid"], self.rest, out=self.slopes["tanh"]).square_()
        elif "tanh" in self.values:
            value = self.values["tanh"]
            torch.addcmul(self.one, value, value, value=-1, out=self.slopes["tanh"])
        if "relu" in self.values:
            ones = self.one.expand_as(update_SBH)
            torch.ops.aten.threshold_backward.grad_input(ones, update_SBH, 0, grad_input=self.slopes["relu"])


def curved(names: Sequence[str]) -> list[str]:
    """The activations whose derivative is not constant."""
    return [name for name in names if name != "identity"]


class Workspace:
    """Scratch memory shared by all nodes, of which each cuts what it needs.

    Args:
        buffer: as many elements as `elements` says.
        shape: (B, H).
    """

    def __init__(self, buffer: Tensor, shape: torch.Size) -> None:
        self.buffer, self.shape = buffer, shape

    @staticmethod
    def elements(shape: torch.Size, sources: int, activations: int) -> int:
        """How many elements nodes of at most so many sources and activations need."""
        return (2 * activations + 2 + _SPARE) * sources * shape.numel()

    def cut(self, sources: int, counts: Sequence[int]) -> list[Tensor]:
        """Adjacent tensors [S, count, B, H], one for every count."""
        sizes = [sources * count * self.shape.numel() for count in counts]
        parts = self.buffer[: sum(sizes)].split(sizes)
        return [part.view(sources, count, *self.shape) for part, count in zip(parts, counts, strict=True)]


class MixedNode:
    """A node that reads S sources through a weighted sum of K activations, and its hand-written derivative.

    Args:
        activations: their K names.
        weights_SK: p; a pair that is not run has weight 0.
        work: shared with other nodes; what is left in it is lost when another one is run.

    Attributes:
        totals: P, [S, 1, 1].
    """

    def __init__(self, activations: tuple[str, ...], weights_SK: Tensor, work: Workspace) -> None:
        count, bent = len(activations), [activations.index(name) for name in curved(activations)]
        values, slopes, *spare = work.cut(len(weights_SK), [count + 1, len(bent), *[1] * (_SPARE + 1)])
        rest, *self._spare = (part.squeeze(1) for part in spare)
        self.activations = Activations(activations, values[:, :-1], slopes, rest)
        self._source = values[:, -1]
        self._values, self._slopes = values.flatten(2), slopes.flatten(2)  # [S, K+1, M], [S, D, M]
        totals = weights_SK.sum(1, keepdim=True)
        self.totals = totals[..., None]
        self._mix = weights_SK[:, None]
        self._change = torch.cat([weights_SK, -totals], dim=1)[:, None]
        self._bend = weights_SK[:, None, bent]
        self._straight = weights_SK[:, [index for index in range(count) if index not in bent]].sum(1)[:, None, None]
        self._sums: tuple[Tensor, Tensor] | None = None
        self._steps = 0

    def run(self, sources_SBH: Tensor, gates_SBH: Tensor, update_SBH: Tensor, out_BH: Tensor) -> None:
        """Write the node to ``out``; ``gates`` is replaced by its sigmoid, as `differentiate` wants it."""
        mixed, scaled, _ = self._spare
        self.activations.evaluate(update_SBH)
        torch.bmm(self._mix, self._values[:, :-1], out=mixed.flatten(1)[:, None])
        torch.mul(sources_SBH, self.totals, out=scaled)
        torch.sum(torch.lerp(scaled, mixed, gates_SBH.sigmoid_(), out=mixed), 0, out=out_BH)

    def gather(self, steps: int) -> None:
        """Begin to sum the weights' gradients over that many calls of `differentiate`."""
        sources, count, _ = self._values.shape
        like = self._values
        self._sums = like.new_empty(steps, sources, count), like.new_empty(steps, sources)
        self._steps = steps

    def gathered(self) -> Tensor:
        """The summed gradients of the weights, [S, K]."""
        assert self._sums is not None
        through_gate, through_all = (part.sum(0) for part in self._sums)
        return through_gate[:, :-1] + (through_all - through_gate[:, -1])[:, None]

    def differentiate(
        self, sources_SBH: Tensor, gates_SBH: Tensor, update_SBH: Tensor, grad_BH: Tensor, into: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The sources' gradient [S, B, H] from that of the node; the caller multiplies it by P.

        ``into`` takes those of gate and update.
        """
        into_mixed, into_source, change = self._spare
        update_SBH = self.activations.evaluate(update_SBH)
        self._source.copy_(sources_SBH)
        torch.mul(grad_BH, gates_SBH, out=into_mixed)
        torch.sub(grad_BH, into_mixed, out=into_source)
        torch.bmm(self._change, self._values, out=change.flatten(1)[:, None])
        torch.mul(change.mul_(gates_SBH), into_source, out=into[0])
        torch.mul(into_mixed, self._slope(update_SBH, out=change), out=into[1])
        if self._steps:
            self._gather(sources_SBH, grad_BH, into_mixed)
        return into_source

    def _slope(self, update_SBH: Tensor, out: Tensor) -> Tensor:
        """The derivative of F by u."""
        if not self._slopes.shape[1]:
            return self._straight
        self.activations.differentiate(update_SBH)
        torch.bmm(self._bend, self._slopes, out=out.flatten(1)[:, None])
        return out.add_(self._straight)

    def _gather(self, sources_SBH: Tensor, grad_BH: Tensor, into_mixed: Tensor) -> None:
        assert self._sums is not None
        self._steps -= 1
        through_gate, through_all = (part[self._steps] for part in self._sums)
        torch.bmm(into_mixed.flatten(1)[:, None], self._values.transpose(1, 2), out=through_gate[:, None])
        torch.mv(sources_SBH.flatten(1), grad_BH.flatten(), out=through_all)


class PlainNode:
    """A node that reads one source through one activation with weight 1: ``lerp(s, f(u), sigmoid(c))``.

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
        """Do nothing: a plain node has no weights."""

    def gathered(self) -> None:
        """None: a plain node has no weights."""

    def differentiate(
        self, sources_1BH: Tensor, gates_1BH: Tensor, update_1BH: Tensor, grad_BH: Tensor, into: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The source's gradient [1, B, H] from that of the node; ``into`` takes those of gate and update."""
        value = ACTIVATIONS[self.activation](update_1BH)
        into_value = grad_BH * gates_1BH
        into_source = grad_BH - into_value
        torch.mul((value - sources_1BH).mul_(gates_1BH), into_source, out=into[0])
        into[1].copy_(_DERIVATIVES[self.activation](into_value, value, update_1BH))
        return into_source
