"""Gated recurrent cells, run over a chunk of text; the ENAS and the DARTS space share them.

Node 0 mixes the cell's input x with the last state h; node i reads one earlier node and gates it (Pham et al. 2018,
Liu et al. 2019; a highway of Zilly et al. 2017):

    [c, u] = [x, h]·W_0          s_0 = h   + sigmoid(c)·(tanh(u) - h)
    [c, u] = s_j·W_i             s_i = s_j + sigmoid(c)·(f(u)    - s_j)          h' = mean of some s_i

This file imports torch alone, because it belongs beside a model that must load where `cnas` is missing.

Legend: B sequences, T tokens, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda values: values,
}
"""By name, in the order in which both spaces number them."""

IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
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


class Gates(NamedTuple):
    """The matrices and nodes of one cell: the two matrices of W_0, and the terms that every later node adds up.

    Of the nodes in ``concat`` the mean is output and next state; None means all after node 0.
    """

    input_matrix: Tensor  # [H, 2H]
    recurrent_matrix: Tensor  # [H, 2H]
    nodes: Sequence[Sequence[Term]]
    concat: Sequence[int] | None = None


def plain_nodes(sources: Sequence[int], activations: Sequence[str]) -> list[tuple[int, str]]:
    """(source, activation) of the nodes after node 0, checked.

    Raises:
        ValueError: a node reads itself or a later one, an activation is unknown, or the lists differ in length.
    """
    if len(sources) != len(activations):
        raise ValueError(f"sources ({len(sources)}) and activations ({len(activations)}) must be as many")
    for node, (source, activation) in enumerate(zip(sources, activations, strict=True), start=1):
        if not 0 <= source < node:
            raise ValueError(f"sources[{node - 1}] must be between 0 and {node - 1}, got {source}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activations[{node - 1}] must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return list(zip(sources, activations, strict=True))


def gate(previous: Tensor, projected: Tensor, activation: str) -> Tensor:
    """``previous + sigmoid(c)·(f(u) - previous)`` with ``[c, u] = projected``, in the dtype of ``previous``."""
    gates, update = projected.to(previous.dtype).chunk(2, dim=-1)
    return torch.lerp(previous, ACTIVATIONS[activation](update), torch.sigmoid(gates))


class Matrices(nn.ParameterList):
    """A `ParameterList` that is read by calling it, since hooks that load weights (`accelerate`) run at calls."""

    __call__ = nn.Module.__call__  # torch's list refuses

    def forward(self) -> list[Tensor]:
        """All of them, in order."""
        return list(self)


class GatedCell(nn.Module):
    """One plain cell and its matrices, with nothing left to search.

    Args:
        hidden_size: H.
        nodes: (source, activation) of every node after node 0.
        concat: the nodes whose mean is output and next state; None means all after node 0.
    """

    def __init__(self, hidden_size: int, nodes: list[tuple[int, str]], concat: Sequence[int] | None = None) -> None:
        super().__init__()
        self.nodes, self.concat = nodes, None if concat is None else tuple(concat)
        self.input_matrix = nn.Parameter(torch.empty(hidden_size, 2 * hidden_size))
        self.recurrent_matrix = nn.Parameter(torch.empty(hidden_size, 2 * hidden_size))
        self.matrices = Matrices(nn.Parameter(torch.empty(hidden_size, 2 * hidden_size)) for _ in nodes)

    def forward(
        self, inputs_BTH: Tensor, state_BH: Tensor | None, hidden_mask: Tensor | None, real_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs [B, T, H] and the state after them [B, H]; where ``real_BT`` is False both stay as they were."""
        if state_BH is None:
            # Like what was embedded, not like the weights: those may be on a disk until a module is called.
            state_BH = inputs_BTH.new_zeros(len(inputs_BTH), inputs_BTH.shape[-1])
        pairs = zip(self.nodes, self.matrices(), strict=True)
        terms = [[Term(source, activation, matrix)] for (source, activation), matrix in pairs]
        gates = Gates(self.input_matrix, self.recurrent_matrix, terms, self.concat)
        return run_cell(inputs_BTH, state_BH, gates, hidden_mask, real_BT=real_BT)


def run_cell(
    inputs_BTH: Tensor,
    hidden_BH: Tensor,
    gates: Gates,
    hidden_mask: Tensor | None,
    offsets: Sequence[Tensor | None] | None = None,
    real_BT: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the cell over a chunk.

    Args:
        inputs_BTH: what enters from below, dropouts applied.
        hidden_BH: the state before the chunk.
        gates: matrices and nodes; in a plain architecture every node has one term.
        hidden_mask: [B, H] dropout mask of every node's input, or None.
        offsets: per node, a scalar added to it (zero-valued, carrying gradient), or None.
        real_BT: False where there is padding, which leaves the state as it was; None where there is none.

    Returns:
        (outputs [B, T, H], the state after the chunk [B, H]).
    """
    input_matrix, recurrent_matrix, nodes, concat = gates
    # All input projections of the chunk are one product; time first makes every step's slice contiguous.
    projected_TBH = torch.matmul(inputs_BTH.transpose(0, 1), input_matrix)
    real_TB1: Sequence[Tensor | None] = [None] * len(projected_TBH)
    if real_BT is not None:
        real_TB1 = real_BT.t().unsqueeze(-1).unbind(0)
    outputs = []
    for projected_BH, real_B1 in zip(projected_TBH.unbind(0), real_TB1, strict=True):
        states = _step(projected_BH, hidden_BH, recurrent_matrix, nodes, hidden_mask, offsets)
        after_BH = torch.stack(states[1:] if concat is None else [states[node] for node in concat]).mean(0)
        hidden_BH = after_BH if real_B1 is None else torch.where(real_B1, after_BH, hidden_BH)
        outputs.append(hidden_BH)
    return torch.stack(outputs, dim=1), hidden_BH


def _step(
    projected_BH: Tensor,
    hidden_BH: Tensor,
    recurrent_matrix: Tensor,
    nodes: Sequence[Sequence[Term]],
    hidden_mask: Tensor | None,
    offsets: Sequence[Tensor | None] | None,
) -> list[Tensor]:
    dropped = hidden_BH if hidden_mask is None else hidden_BH * hidden_mask
    states = [gate(hidden_BH, torch.addmm(projected_BH, dropped, recurrent_matrix), "tanh")]
    masked: dict[int, Tensor] = {}
    for index, terms in enumerate(nodes):
        total = None if offsets is None else offsets[index]
        for source, activation, matrix, scale in terms:
            if source not in masked:
                masked[source] = states[source] if hidden_mask is None else states[source] * hidden_mask
            value = gate(states[source], masked[source] @ matrix, activation)
            value = value if scale is None else value * scale
            total = value if total is None else total + value
        states.append(torch.zeros_like(hidden_BH) if total is None else total)
    return states
