"""K plain architectures in the supernet at once, without gradient or dropout.

All share one matrix a node, so that every node is one product over the rows of all K.

Legend: T tokens, K candidates, B rows, H hidden units, G = 2H, N nodes with node 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cnas.spaces._gated_cell import IN_PLACE, gate
from cnas.spaces.darts_rnn.norm import BatchNorm
from cnas.spaces.darts_rnn.tape import multiply


def run_paths(
    projected_TBG: Tensor,
    hidden_KBH: Tensor,
    matrices: Sequence[Tensor],
    nodes_K: Sequence[Sequence[tuple[int, str]]],
    concat: Sequence[int],
    all_reduce_sum: Callable[[Tensor], Tensor] | None,
) -> tuple[Tensor, Tensor]:
    """Run K architectures; each is normalised with statistics of its own.

    Args:
        projected_TBG: the inputs times their part of W_0.
        hidden_KBH: the states before the chunk.
        matrices: the part of W_0 that reads the state, then one of every node after node 0, each [H, 2H].
        nodes_K: per architecture, (source, activation) of every node after node 0.
        concat: the nodes whose mean is output and next state.
        all_reduce_sum: see `cnas.types.Batch.all_reduce_sum`.

    Returns:
        (outputs [T, K, B, H], the states after the chunk [K, B, H]).
    """
    count, rows, hidden = hidden_KBH.shape
    norm, device = BatchNorm(hidden_KBH, all_reduce_sum), hidden_KBH.device
    # Row source·K + k of the flattened states is what candidate k reads.
    reads = [
        torch.tensor([nodes[index][0] * count + k for k, nodes in enumerate(nodes_K)], device=device)
        for index in range(len(matrices) - 1)
    ]
    states_NKBH = hidden_KBH.new_empty(len(matrices), count, rows, hidden)
    outputs_TKBH = hidden_KBH.new_empty(len(projected_TBG), count, rows, hidden)
    projected_KBG = hidden_KBH.new_empty(count, rows, 2 * hidden)
    outputs_of = torch.tensor(concat, device=device)
    everything = len(concat) == len(matrices) - 1
    for step, inputs_BG in enumerate(projected_TBG):
        multiply(hidden_KBH.flatten(0, 1), matrices[0], projected_KBG.flatten(0, 1))
        states_NKBH[0] = gate(hidden_KBH, projected_KBG.add_(inputs_BG), "tanh")
        norm.apply_(states_NKBH[0])
        for index, read in enumerate(reads):
            previous_KBH = states_NKBH.flatten(0, 1).index_select(0, read)
            multiply(previous_KBH.flatten(0, 1), matrices[index + 1], projected_KBG.flatten(0, 1))
            gates, update = projected_KBG.chunk(2, dim=-1)
            for update_BH, nodes in zip(update, nodes_K, strict=True):
                IN_PLACE[nodes[index][1]](update_BH)
            torch.lerp(previous_KBH, update, gates.sigmoid_(), out=states_NKBH[index + 1])
            norm.apply_(states_NKBH[index + 1])
        chosen = states_NKBH[1:] if everything else states_NKBH.index_select(0, outputs_of)
        hidden_KBH = torch.mean(chosen, 0, out=outputs_TKBH[step])
    return outputs_TKBH, hidden_KBH.clone()
