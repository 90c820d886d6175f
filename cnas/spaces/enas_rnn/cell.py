"""The ENAS recurrent cell, run over a chunk of text.

Node 0 mixes the cell's input x with the last state h; node i reads one earlier node and gates it
(Pham et al. 2018, in the form of google-research ``enas_lm``; a highway of Zilly et al. 2017):

    [c, u] = [x, h]·W_0          s_0 = h   + sigmoid(c)·(tanh(u) - h)
    [c, u] = s_j·W_(i,j,f)       s_i = s_j + sigmoid(c)·(f(u)    - s_j)          h' = mean(s_1 … s_L)

This file imports torch alone, because the export copies it beside a model that must load where `cnas` is missing.

Legend: B sequences, T tokens, H hidden units, K candidates, L nodes after node 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda values: values,
}
"""By name, in the order in which ENAS numbers them (google-research ``enas_lm``)."""

_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
    "identity": lambda values: values,
}


class Term(NamedTuple):
    """One (source, operation) that a node adds up; ``scale`` None means 1."""

    source: int
    activation: str
    matrix: Tensor  # [H, 2H]
    scale: Tensor | None = None


def gate(previous: Tensor, projected: Tensor, activation: str) -> Tensor:
    """``previous + sigmoid(c)·(f(u) - previous)`` with ``[c, u] = projected``, in the dtype of ``previous``."""
    carry, update = projected.to(previous.dtype).chunk(2, dim=-1)
    return torch.lerp(previous, ACTIVATIONS[activation](update), torch.sigmoid(carry))


def run_cell(
    inputs_BTH: Tensor,
    carry_BH: Tensor,
    input_matrix: Tensor,
    recurrent_matrix: Tensor,
    nodes: Sequence[Sequence[Term]],
    hidden_mask: Tensor | None,
    offsets: Sequence[Tensor | None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the cell over a chunk.

    Args:
        inputs_BTH: what enters from below, dropouts applied.
        carry_BH: the state before the chunk.
        input_matrix: [H, 2H], the part of W_0 that reads the input.
        recurrent_matrix: [H, 2H], the part of W_0 that reads the state.
        nodes: per node after node 0, the terms it adds up (one in a plain architecture).
        hidden_mask: [B, H] dropout mask of every node's input, or None.
        offsets: per node, a scalar added to it (zero-valued, carrying gradient), or None.

    Returns:
        (outputs [B, T, H], the state after the chunk [B, H]).
    """
    # All input projections of the chunk are one product; time first makes every step's slice contiguous.
    projected_TBH = torch.matmul(inputs_BTH.transpose(0, 1), input_matrix)
    outputs = []
    for projected_BH in projected_TBH.unbind(0):
        states = _step(projected_BH, carry_BH, recurrent_matrix, nodes, hidden_mask, offsets)
        carry_BH = torch.stack(states[1:]).mean(0)
        outputs.append(carry_BH)
    return torch.stack(outputs, dim=1), carry_BH


def _step(
    projected_BH: Tensor,
    carry_BH: Tensor,
    recurrent_matrix: Tensor,
    nodes: Sequence[Sequence[Term]],
    hidden_mask: Tensor | None,
    offsets: Sequence[Tensor | None] | None,
) -> list[Tensor]:
    dropped = carry_BH if hidden_mask is None else carry_BH * hidden_mask
    states = [gate(carry_BH, torch.addmm(projected_BH, dropped, recurrent_matrix), "tanh")]
    masked: dict[int, Tensor] = {}
    for index, terms in enumerate(nodes):
        total = None if offsets is None else offsets[index]
        for source, activation, matrix, scale in terms:
            if source not in masked:
                masked[source] = states[source] if hidden_mask is None else states[source] * hidden_mask
            value = gate(states[source], masked[source] @ matrix, activation)
            value = value if scale is None else value * scale
            total = value if total is None else total + value
        states.append(torch.zeros_like(carry_BH) if total is None else total)
    return states


def run_cells(
    inputs_BTH: Tensor,
    carries_KBH: Tensor,
    input_matrix: Tensor,
    recurrent_matrix: Tensor,
    nodes_K: Sequence[Sequence[Term]],
) -> tuple[Tensor, Tensor]:
    """`run_cell` for K plain architectures at once, without gradient or dropout.

    The input projection is shared by all K, the recurrent one is a single product over K·B rows, and each node is one
    batched product over K.

    Returns:
        (outputs [T, K, B, H], the states after the chunk [K, B, H]).
    """
    count, rows, hidden = carries_KBH.shape
    length, depth = inputs_BTH.shape[1], len(nodes_K[0])
    projected_TBH = torch.matmul(inputs_BTH.transpose(0, 1), input_matrix).to(carries_KBH.dtype)
    matrices = [torch.stack([nodes[index].matrix for nodes in nodes_K]) for index in range(depth)]
    # Row source·K + k of the flattened states is what candidate k reads.
    reads = torch.tensor(
        [[nodes[index].source * count + k for k, nodes in enumerate(nodes_K)] for index in range(depth)],
        device=carries_KBH.device,
    )
    states_LKBH = carries_KBH.new_empty(depth + 1, count, rows, hidden)
    flat_states = states_LKBH.flatten(0, 1)
    outputs_TKBH = carries_KBH.new_empty(length, count, rows, hidden)
    for step in range(length):
        recurrent = (carries_KBH.flatten(0, 1) @ recurrent_matrix).view(count, rows, 2 * hidden)
        states_LKBH[0] = gate(carries_KBH, recurrent + projected_TBH[step], "tanh")
        for index in range(depth):
            previous_KBH = flat_states.index_select(0, reads[index])
            projected = torch.bmm(previous_KBH, matrices[index]).to(previous_KBH.dtype)
            for update_BH, nodes in zip(projected[..., hidden:], nodes_K, strict=True):
                _IN_PLACE[nodes[index].activation](update_BH)
            carry = projected[..., :hidden].sigmoid_()
            torch.lerp(previous_KBH, projected[..., hidden:], carry, out=states_LKBH[index + 1])
        carries_KBH = torch.mean(states_LKBH[1:], 0, out=outputs_TKBH[step])
    return outputs_TKBH, carries_KBH.clone()
