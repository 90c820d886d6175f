"""One node of the search cell: a gate over a weighted sum of activations, for several sources at once.

With ``[c, u] = (s_j·m)·W`` for every source j, c standing for sigmoid(c) from here on:

    s = Σ_j Σ_k p_jk·(s_j + c_j·(f_k(u_j) - s_j)) = Σ_j lerp(P_j·s_j, F_j, c_j)
    P_j = Σ_k p_jk        F_j = Σ_k p_jk·f_k(u_j)

The activations are mixed before the gate, so that there is one gate a source and not one an activation. The derivative
is written out: what is cheap is computed again rather than kept. Small operations cost more by their number than by
their work, so what is mixed lies side by side and takes one product.

Legend: S sources, K activations, D those but identity, B rows, H hidden units, M = B·H.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnas.spaces.darts_rnn.activations import Activations, curved

_SPARE = 3


class Workspace:
    """Memory that all nodes use in turn.

    Args:
        buffer: as many elements as `elements` says.
        shape: (B, H).
    """

    def __init__(self, buffer: Tensor, shape: torch.Size) -> None:
        self.buffer, self.shape = buffer, shape

    @staticmethod
    def elements(shape: torch.Size, sources: int, activations: int) -> int:
        """What nodes of at most so many sources and activations need."""
        return (2 * activations + 2 + _SPARE) * sources * shape.numel()

    def cut(self, sources: int, counts: Sequence[int]) -> list[Tensor]:
        """[S, count, B, H] for every count, beside one another."""
        sizes = [sources * count * self.shape.numel() for count in counts]
        parts = self.buffer[: sum(sizes)].split(sizes)
        return [part.view(sources, count, *self.shape) for part, count in zip(parts, counts, strict=True)]


class MixedNode:
    """A node of S sources and K activations.

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
        """Sum the gradients of the weights over that many calls of `differentiate`."""
        sources, count, _ = self._values.shape
        like = self._values
        self._sums = like.new_empty(steps, sources, count), like.new_empty(steps, sources)
        self._steps = steps

    def gathered(self) -> Tensor:
        """Those sums, [S, K]."""
        assert self._sums is not None
        through_gate, through_all = (part.sum(0) for part in self._sums)
        return through_gate[:, :-1] + (through_all - through_gate[:, -1])[:, None]

    def differentiate(
        self,
        sources_SBH: Tensor,
        gates_SBH: Tensor,
        update_SBH: Tensor,
        grad_BH: Tensor,
        into: tuple[Tensor, Tensor],
    ) -> Tensor:
        """From the gradient of the node to that of its sources, [S, B, H], which is still to be multiplied by P.

        ``into`` takes those of carry and update.
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
