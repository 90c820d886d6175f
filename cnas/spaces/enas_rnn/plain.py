"""The mixture of the ENAS cell as a pure function of tensors: every source and activation has a matrix of its own.

    [c, u] = s_j·W_ijk      s_i = Σ_j Σ_k p_ijk·(s_j + sigmoid(c)·(f_k(u) - s_j))      h' = mean of all s_i, i > 0

As soon as s_j is there, one product with the matrices of all later nodes does.

Legend: B rows, T tokens, H hidden units, G = 2H, N nodes after node 0, M = 4 activations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cnas.spaces._plain import FUNCTIONS, CellMatrices, Values, first_state
from cnas.spaces.pure import Compile


def mixture_step(
    projected_BG: Tensor, state_BH: Tensor, mask_BH: Tensor | None, matrices: CellMatrices, table_NNM: Tensor
) -> Tensor:
    """One time step of the mixture: the next state [B, H].

    Args:
        projected_BG: the input times its part of W_0.
        state_BH: h.
        mask_BH: what every node's input is multiplied by; None where there is no dropout.
        matrices: [H, G], and per source j W_ijk of all later nodes side by side, [H, (N - j)·M·G].
        table_NNM: p_ijk for node i + 1, source j and activation k.
    """
    nodes, (rows, hidden) = len(matrices.others), state_BH.shape
    gates, update = (_product(state_BH, mask_BH, matrices.first) + projected_BG).chunk(2, -1)
    states = [state_BH + torch.sigmoid(gates) * (torch.tanh(update) - state_BH)]
    later: Tensor | None = None  # [B, n, H], what the later nodes have got so far, n = N - j of them
    for source, matrix in enumerate(matrices.others):
        product = _product(states[-1], mask_BH, matrix).view(rows, nodes - source, len(FUNCTIONS), 2, hidden)
        for number, function in enumerate(FUNCTIONS):
            gates, update = product[:, :, number].unbind(2)
            previous = states[-1][:, None]
            value = previous + torch.sigmoid(gates) * (function(update) - previous)
            value = value * table_NNM[source:, source, number, None]
            later = value if later is None else later + value
        assert later is not None
        states.append(later[:, 0])
        later = later[:, 1:]
    return sum(states[2:], states[1]) / nodes


def _product(state_BH: Tensor, mask_BH: Tensor | None, matrix_HG: Tensor) -> Tensor:
    dropped = state_BH if mask_BH is None else state_BH * mask_BH
    return (dropped.to(matrix_HG.dtype) @ matrix_HG).to(state_BH.dtype)


@dataclass(frozen=True)
class MixtureCell:
    """The mixture over a chunk.

    Args:
        nodes: N.
    """

    nodes: int

    def __call__(self, projected_TBG: Tensor, values: Values, compiled: Compile, dtype: torch.dtype) -> Tensor:
        """The outputs [T, B, H]."""
        step, mask_BH, state_BH = compiled(mixture_step), values.get("mask.hidden"), first_state(values)
        others, outputs = [self._later(source, values, dtype) for source in range(self.nodes)], []
        matrices = CellMatrices(values["recurrent_matrix"].to(dtype), others)
        for projected_BG in projected_TBG.unbind():
            state_BH = step(projected_BG, state_BH, mask_BH, matrices, values["table"])
            outputs.append(state_BH)
        return torch.stack(outputs)

    def _later(self, source: int, values: Values, dtype: torch.dtype) -> Tensor:
        """The matrices of all nodes behind ``source`` that read it, side by side."""
        edges = [node * (node + 1) // 2 + source for node in range(source, self.nodes)]
        count = len(FUNCTIONS)
        return torch.cat([values[f"matrix{edge * count + k}"] for edge in edges for k in range(count)], 1).to(dtype)
