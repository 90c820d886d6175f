"""Plain ENAS cells, K at once; one alone is run by `cnas.spaces._gated_cell`.

Every (node, source, activation) has a matrix of its own (Pham et al. 2018, in the form of google-research ``enas_lm``).

Legend: B sequences, T tokens, H hidden units, K candidates, L nodes after node 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnas.spaces._gated_cell import IN_PLACE, Term, gate


def run_cells(
    inputs_BTH: Tensor,
    hidden_KBH: Tensor,
    input_matrix: Tensor,
    recurrent_matrix: Tensor,
    nodes_K: Sequence[Sequence[Term]],
) -> tuple[Tensor, Tensor]:
    """`cnas.spaces._gated_cell.run_cell` for K plain architectures at once, without gradient or dropout.

    The input projection is shared by all K, the recurrent one is a single product over K·B rows, and each node is one
    batched product over K.

    Returns:
        (outputs [T, K, B, H], the states after the chunk [K, B, H]).
    """
    count, rows, hidden = hidden_KBH.shape
    length, depth = inputs_BTH.shape[1], len(nodes_K[0])
    projected_TBH = torch.matmul(inputs_BTH.transpose(0, 1), input_matrix).to(hidden_KBH.dtype)
    matrices = [torch.stack([nodes[index].matrix for nodes in nodes_K]) for index in range(depth)]
    # Row source·K + k of the flattened states is what candidate k reads.
    reads = torch.tensor(
        [[nodes[index].source * count + k for k, nodes in enumerate(nodes_K)] for index in range(depth)],
        device=hidden_KBH.device,
    )
    states_LKBH = hidden_KBH.new_empty(depth + 1, count, rows, hidden)
    flat_states = states_LKBH.flatten(0, 1)
    outputs_TKBH = hidden_KBH.new_empty(length, count, rows, hidden)
    for step in range(length):
        recurrent = (hidden_KBH.flatten(0, 1) @ recurrent_matrix).view(count, rows, 2 * hidden)
        states_LKBH[0] = gate(hidden_KBH, recurrent + projected_TBH[step], "tanh")
        for index in range(depth):
            previous_KBH = flat_states.index_select(0, reads[index])
            projected = torch.bmm(previous_KBH, matrices[index]).to(previous_KBH.dtype)
            for update_BH, nodes in zip(projected[..., hidden:], nodes_K, strict=True):
                IN_PLACE[nodes[index].activation](update_BH)
            gates = projected[..., :hidden].sigmoid_()
            torch.lerp(previous_KBH, projected[..., hidden:], gates, out=states_LKBH[index + 1])
        hidden_KBH = torch.mean(states_LKBH[1:], 0, out=outputs_TKBH[step])
    return outputs_TKBH, hidden_KBH.clone()
