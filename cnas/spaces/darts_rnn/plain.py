"""The mixture of the DARTS cell as a pure function of tensors (Liu et al. 2019, Eq. 2, with a gate and a norm).

    [c, u] = s_j·W_i      s_i = N(Σ_j Σ_k p_ijk·(s_j + sigmoid(c)·(f_k(u) - s_j)))      h' = mean of some s_i

All operations from one source j share the product with W_i, so as soon as s_j is there, one product with the matrices
of all later nodes does. States lie features first, [H, B], so that N reduces along memory.

Legend: B rows, T tokens, H hidden units, G = 2H, N nodes after node 0, M = 4 activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cnas.spaces._plain import FUNCTIONS, CellMatrices, Values, first_state, mean_of, normalised
from cnas.spaces.pure import Compile


def mixture_step(
    projected_GB: Tensor,
    state_HB: Tensor,
    mask_HB: Tensor | None,
    matrices: CellMatrices,
    table_NNMH: Tensor,
    idle: Sequence[Tensor] | None,
    concat: tuple[int, ...],
) -> Tensor:
    """One time step of the mixture: the next state [H, B].

    Args:
        projected_GB: the input times its part of W_0.
        state_HB: h.
        mask_HB: what every node's input is multiplied by; None where there is no dropout.
        matrices: transposed, [G, H] and [N, G, H].
        table_NNMH: p_ijk for node i + 1, source j and activation k, the same number for all H.
        idle: [N], what is added to the nodes, for its gradients; None where nothing is.
        concat: the nodes whose mean is the next state.
    """
    nodes, (hidden, rows) = len(matrices.others), state_HB.shape
    gates, update = _product(matrices.first, state_HB, mask_HB).add(projected_GB).chunk(2)
    total_HB = state_HB + torch.sigmoid(gates) * (torch.tanh(update) - state_HB)
    states: list[Tensor] = []
    later_nHB: Tensor | None = None  # what the later nodes have got so far, n = N - j of them
    for source in range(nodes):
        states.append(_node(total_HB, idle, source))
        product = _product(matrices.others[source:].flatten(0, 1), states[-1], mask_HB)
        gates_nHB, update_nHB = product.view(nodes - source, 2, hidden, rows).unbind(1)
        weights = [each[..., None] for each in table_NNMH[source:, source].unbind(1)]
        kept_nHB = sum(weights[1:], weights[0]) * states[-1]
        mixed_nHB = sum(weight * function(update_nHB) for weight, function in zip(weights, FUNCTIONS, strict=True))
        added_nHB = kept_nHB + torch.sigmoid(gates_nHB) * (mixed_nHB - kept_nHB)
        later_nHB = added_nHB if later_nHB is None else later_nHB[1:] + added_nHB
        total_HB = later_nHB[0]
    states.append(_node(total_HB, idle, nodes))
    return mean_of(states, concat)


def _node(total_HB: Tensor, idle: Sequence[Tensor] | None, node: int) -> Tensor:
    state_HB = normalised(total_HB, 1)
    return state_HB if idle is None or node == 0 else state_HB + idle[node - 1]


def _product(matrix_GH: Tensor, state_HB: Tensor, mask_HB: Tensor | None) -> Tensor:
    dropped = state_HB if mask_HB is None else state_HB * mask_HB
    return (matrix_GH @ dropped.to(matrix_GH.dtype)).to(state_HB.dtype)


@dataclass(frozen=True)
class MixtureCell:
    """The mixture over a chunk.

    Args:
        nodes: N.
        concat: the nodes whose mean is output and next state.
    """

    nodes: int
    concat: tuple[int, ...]

    def __call__(self, projected_TBG: Tensor, values: Values, compiled: Compile, dtype: torch.dtype) -> Tensor:
        """The outputs [T, B, H]."""
        step, mask, state_HB = compiled(mixture_step), values.get("mask.hidden"), first_state(values).t().contiguous()
        others_NGH = torch.stack([values[f"matrix{node}"].t().to(dtype) for node in range(self.nodes)])
        matrices = CellMatrices(values["recurrent_matrix"].t().to(dtype), others_NGH)
        mask_HB = None if mask is None else mask.t().contiguous()
        # A weight's gradient is so summed over rows alone in a step, and over the rest once, in the end.
        tables = values["table"][..., None].expand(len(projected_TBG), -1, -1, -1, len(state_HB)).unbind()
        idle, outputs = values["idle"].unbind() if "idle" in values else None, []
        for projected_GB, table in zip(projected_TBG.transpose(1, 2).contiguous().unbind(), tables, strict=True):
            state_HB = step(projected_GB, state_HB, mask_HB, matrices, table, idle, self.concat)
            outputs.append(state_HB)
        return torch.stack(outputs).transpose(1, 2)
