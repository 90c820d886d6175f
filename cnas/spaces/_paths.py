"""K paths of a recurrent supernet run at once, which is how they score data.

Legend: B rows, T tokens, H hidden units, G = 2H, K paths, N nodes with node 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cnas.spaces._gated_cell import IN_PLACE, gate

Product = Callable[[Tensor], Tensor]
"""From what a node reads [K, B, H] to its gates and updates [K, B, G], which may lie in the same memory each time."""


def run_paths(
    projected_TBG: Tensor,
    hidden_KBH: Tensor,
    products_N: Sequence[Product],
    nodes_K: Sequence[Sequence[tuple[int, str]]],
    concat: Sequence[int],
    normalise_: Callable[[Tensor], object] = lambda states: states,
) -> tuple[Tensor, Tensor]:
    """Run K plain architectures over a chunk, without gradient or dropout.

    Args:
        projected_TBG: the inputs times their part of W_0, which all K share.
        hidden_KBH: the states before the chunk.
        products_N: of every node, node 0 first.
        nodes_K: per architecture, (source, activation) of every node after node 0.
        concat: the nodes whose mean is output and next state.
        normalise_: changes the states [K, B, H] of a node in place.

    Returns:
        (outputs [T, K, B, H], the states after the chunk [K, B, H]).
    """
    count, later = len(nodes_K), range(1, len(products_N))
    # Row source·K + k of the flattened states is what candidate k reads.
    reads = [[nodes[index - 1][0] * count + k for k, nodes in enumerate(nodes_K)] for index in later]
    reads_NK = torch.tensor(reads, device=hidden_KBH.device)
    states_NKBH = hidden_KBH.new_empty(len(products_N), *hidden_KBH.shape)
    outputs_TKBH = hidden_KBH.new_empty(len(projected_TBG), *hidden_KBH.shape)
    ends = torch.tensor(concat, device=hidden_KBH.device)
    for step, inputs_BG in enumerate(projected_TBG):
        states_NKBH[0] = gate(hidden_KBH, products_N[0](hidden_KBH) + inputs_BG, "tanh")
        normalise_(states_NKBH[0])
        for index in later:
            previous_KBH = states_NKBH.flatten(0, 1).index_select(0, reads_NK[index - 1])
            gates, update = products_N[index](previous_KBH).chunk(2, dim=-1)
            for update_BH, nodes in zip(update, nodes_K, strict=True):
                IN_PLACE[nodes[index - 1][1]](update_BH)
            torch.lerp(previous_KBH, update, gates.sigmoid_(), out=states_NKBH[index])
            normalise_(states_NKBH[index])
        chosen = states_NKBH[1:] if len(concat) == len(later) else states_NKBH.index_select(0, ends)
        hidden_KBH = torch.mean(chosen, 0, out=outputs_TKBH[step])
    return outputs_TKBH, hidden_KBH.clone()
