"""The search cell over a chunk of text (Liu et al. 2019, in the form of the authors' code).

Node 0 mixes input and state as in every gated cell; node i reads all earlier nodes through one matrix [H, 2H]; node 0
and every node i are normalised at every time step. The whole chunk is one function for autograd.

Legend: T tokens, B rows, H hidden units, G = 2H, N nodes with node 0, S sources of a node, K its activations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cnas.spaces._memory import BufferPool
from cnas.spaces.darts_rnn.gradients import Gradients
from cnas.spaces.darts_rnn.tape import Tape


class Node(NamedTuple):
    """A node after node 0: which earlier nodes it reads, and through what."""

    sources: tuple[int, ...]
    activations: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """What `run_search_cell` runs.

    Args:
        nodes: those after node 0.
        concat: the nodes whose mean is output and next state.
        hidden_mask: [B, H] dropout mask of every node's input, or None.
        all_reduce_sum: see `cnas.types.Batch.all_reduce_sum`.
        memory: where the tape of a chunk finds room.
    """

    nodes: tuple[Node, ...]
    concat: tuple[int, ...]
    hidden_mask: Tensor | None
    all_reduce_sum: Callable[[Tensor], Tensor] | None
    memory: BufferPool

    def reachable(self) -> list[bool]:
        """Per node, node 0 first: whether the output depends on it. What it does not depend on is not run."""
        found = [False] * (len(self.nodes) + 1)
        for index in self.concat:
            found[index] = True
        for index in range(len(self.nodes), 0, -1):
            for source in self.nodes[index - 1].sources:
                found[source] |= found[index]
        return found


def run_search_cell(
    cell: Cell,
    projected_TBG: Tensor,
    hidden_BH: Tensor,
    matrices: Sequence[Tensor],
    weights: Sequence[Tensor] | None,
    idle: Tensor | None,
) -> Tensor:
    """The outputs [T, B, H] of a chunk; the last one is the next state.

    Args:
        cell: what is run.
        projected_TBG: the inputs times their part of W_0.
        hidden_BH: the state before the chunk.
        matrices: the part of W_0 that reads the state, then one of every node after node 0, each [H, 2H].
        weights: per node after node 0, [S, K]; None where every node has one source and one activation, of weight 1.
        idle: [N-1], per node a scalar whose value does not count: its gradient is as if it were added to the
            normalised node. None where no gradient is to reach it.
    """
    inputs = (projected_TBG, hidden_BH, idle, *matrices, *(weights or ()))
    # Inside the function grad mode is off, and `needs_input_grad` does not know of `torch.no_grad`: asked here.
    keep = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs)
    outputs: Tensor = _SearchCell.apply(cell, keep, *inputs)
    return outputs


class _SearchCell(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cell: Cell, keep: bool, *inputs: Any) -> Tensor:
        projected, hidden_state, _, *rest = inputs
        kind = hidden_state.device.type
        half = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_state.dtype
        count = len(cell.nodes) + 1
        with torch.autocast(kind, enabled=False):
            matrices = [matrix.to(half) for matrix in rest[:count]]
            tape = Tape(cell, hidden_state, matrices, rest[count:], len(projected) if keep else 1)
            outputs = tape.run(projected)
        ctx.save_for_backward(outputs, *inputs)
        ctx.tape = tape if keep else None
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        outputs = ctx.saved_tensors[0]
        with torch.autocast(outputs.device.type, enabled=False):
            return (None, None, *Gradients(ctx.tape, outputs, ctx.needs_input_grad[2:]).run(grads[0]))
