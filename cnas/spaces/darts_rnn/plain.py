"""The DARTS cell as pure functions of tensors: its mixture (Liu et al. 2019, Eq. 2, with a gate and a norm), its paths.

    [c, u] = s_j·W_i      s_i = N(Σ_j Σ_k p_ijk·(s_j + sigmoid(c)·(f_k(u) - s_j)))      h' = mean of some s_i

N normalises over the rows of the batch. All operations from one source j share the product with W_i, so as soon as s_j
is there, one product with the matrices of all later nodes does. States lie features first, [H, B] or [H, K, B], so that
N reduces along memory.

Legend: B rows, T tokens, H hidden units, G = 2H, N nodes after node 0, M = 4 activations, K paths at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cnas.spaces._plain import FUNCTIONS, CellMatrices, Path, Values, activated, chosen, first_state, mean_of
from cnas.spaces.darts_rnn.norm import EPSILON
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


def normed_path_step(
    projected: Tensor, state: Tensor, mask: Tensor | None, matrices: CellMatrices, path: Path
) -> Tensor:
    """One time step of one path, or of K at once: the next state [H, B], or [H, K, B].

    Args:
        projected: the input times its part of W_0, [G, B], or [G, 1, B].
        state: h.
        mask: [H, B], what every node's input is multiplied by; None where there is no dropout.
        matrices: transposed, [G, H] and [N, G, H].
        path: what is run; numbers of K paths are [K, 1].
    """
    states: list[Tensor] = []
    for node in range(len(matrices.others) + 1):
        previous = chosen(states, path.sources[node - 1]) if node else state
        product = _product(matrices.others[node - 1] if node else matrices.first, previous, mask)
        gates, update = (product if node else product + projected).chunk(2)
        update = activated(update, path.activations[node - 1] if node else 0)
        value = previous + torch.sigmoid(gates) * (update - previous)
        if node and path.scales is not None:
            value = value * path.scales[node - 1]
        states.append(_node(value, path.idle, node))
    return mean_of(states, path.concat)


def _node(total: Tensor, idle: Sequence[Tensor] | None, node: int) -> Tensor:
    centred = total - total.mean(-1, keepdim=True)
    # From centred values: mean(x²) - mean(x)² would lose what mean and spread have in common.
    state = centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + EPSILON)
    return state if idle is None or node == 0 else state + idle[node - 1]


def _product(matrix_GH: Tensor, state: Tensor, mask_HB: Tensor | None) -> Tensor:
    dropped = state if mask_HB is None else state * mask_HB
    product = matrix_GH @ dropped.flatten(1).to(matrix_GH.dtype)
    return product.to(state.dtype).view(-1, *state.shape[1:])


@dataclass(frozen=True)
class NormedPathCell:
    """A path, or K of them, over a chunk.

    Args:
        nodes: N.
        concat: the nodes whose mean is output and next state.
    """

    nodes: int
    concat: tuple[int, ...]

    def __call__(self, projected_TBG: Tensor, values: Values, compiled: Compile, dtype: torch.dtype) -> Tensor:
        """The outputs [T, B, H] or [T, K, B, H]."""
        step, mask, state = compiled(normed_path_step), values.get("mask.hidden"), first_state(values)
        state, inputs = state.movedim(-1, 0).contiguous(), projected_TBG.transpose(1, 2).contiguous()
        numbers = [values[name] for name in ("sources", "activations")]
        if state.dim() == 3:
            inputs, numbers = inputs[:, :, None], [each.squeeze(-1) for each in numbers]
        scales, idle = (values[name].unbind() if name in values else None for name in ("scales", "idle"))
        path = Path(numbers[0].unbind(), numbers[1].unbind(), scales, idle, self.concat)
        mask_HB, matrices, outputs = None if mask is None else mask.t().contiguous(), transposed(values, dtype), []
        for projected in inputs.unbind():
            state = step(projected, state, mask_HB, matrices, path)
            outputs.append(state)
        return torch.stack(outputs).movedim(1, -1)


def transposed(values: Values, dtype: torch.dtype) -> CellMatrices:
    """All matrices features first, in the dtype of products."""
    others = list[Tensor]()
    while (name := f"matrix{len(others)}") in values:
        others.append(values[name].t().to(dtype))
    return CellMatrices(values["recurrent_matrix"].t().to(dtype), torch.stack(others))


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
        matrices = transposed(values, dtype)
        mask_HB = None if mask is None else mask.t().contiguous()
        # A weight's gradient is so summed over rows alone in a step, and over the rest once, in the end.
        tables = values["table"][..., None].expand(len(projected_TBG), -1, -1, -1, len(state_HB)).unbind()
        idle, outputs = values["idle"].unbind() if "idle" in values else None, []
        for projected_GB, table in zip(projected_TBG.transpose(1, 2).contiguous().unbind(), tables, strict=True):
            state_HB = step(projected_GB, state_HB, mask_HB, matrices, table, idle, self.concat)
            outputs.append(state_HB)
        return torch.stack(outputs).transpose(1, 2)
