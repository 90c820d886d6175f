"""The search cell over a chunk of text as one function for autograd (Liu et al. 2019, as in the authors' code).

Node 0 mixes input and state as in every gated cell; node i reads all earlier nodes through one matrix [H, 2H]; node 0
and every node i are normalised at every time step. The backward pass is written out here, over the tape that the
forward pass (`tape.py`) keeps.

Legend: T tokens, B rows, H hidden units, G = 2H, N nodes with node 0, S sources of a node, K its activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cnas.spaces.darts_rnn.tape import Cell, NodeTape, Tape


def run_search_cell(
    cell: Cell,
    projected_TBG: Tensor,
    hidden_BH: Tensor,
    matrices: Sequence[Tensor],
    weights: Sequence[Tensor] | None,
    idle: Tensor | None,
) -> Tensor:
    """Run the cell over a chunk: outputs [T, B, H], of which the last one is the next state.

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


class NodeBackward:
    """The gradients of one node, summed over time steps.

    Args:
        node: its part of the tape.
        buffer: memory for the gradient of its products at one time step, shared with other nodes.
        wants_matrix: whether the gradient of its matrix is wanted.
        wants_weights: whether those of its weights are.
    """

    def __init__(self, node: NodeTape, buffer: Tensor, wants_matrix: bool, wants_weights: bool) -> None:
        self.node, self.wants_weights = node, wants_weights
        if wants_weights:
            node.kind.gather(len(node.products))
        into = buffer[: node.products[0].numel()].view_as(node.products[0])
        hidden = into.shape[-1] // 2
        self.into = into[..., :hidden], into[..., hidden:]
        self.flat = into.flatten(0, 1)  # [S·B, G], the gradient of the products at the time step that was run last
        self.transposed = node.matrix.t()
        self.matrix = into.new_zeros(node.matrix.shape) if wants_matrix else None

    def run(self, step: int, sources_SBH: Tensor, masked_SBH: Tensor, grad_BH: Tensor) -> Tensor:
        """One time step: the part of the sources' gradient [S, B, H] that does not pass through the product."""
        found = self.node.kind.differentiate(sources_SBH, *self.node.halves[step], grad_BH, self.into)
        if self.matrix is not None:
            add_product(self.matrix, masked_SBH.flatten(0, 1).t(), self.flat, self.node.matrix.dtype)
        return found

    def through_product(self, total_SBH: Tensor) -> None:
        """Add the part of the sources' gradient that passes through the product to ``total_SBH``."""
        add_product(total_SBH.flatten(0, 1), self.flat, self.transposed, self.node.matrix.dtype)


class Gradients:
    """The backward pass over a tape.

    Args:
        tape: of the forward pass.
        outputs: [T, B, H], its result.
        needs: whether the gradient is wanted of: the projected inputs, the first state, the idle weights, every
            matrix, every node's weights.
    """

    def __init__(self, tape: Tape, outputs: Tensor, needs: Sequence[bool]) -> None:
        self.tape, self.outputs, self.mask = tape, outputs, tape.cell.hidden_mask
        count = len(tape.nodes)
        matrices, weights = needs[3 : 3 + count], needs[3 + count :]
        self.mixed = bool(weights)
        wanted = [False, *(weights or [False] * (count - 1))]
        buffer = outputs.new_empty(max((node.products[0].numel() for node in tape.nodes if node), default=0))
        self.nodes = [
            None if node is None else NodeBackward(node, buffer, *pair)
            for node, *pair in zip(tape.nodes, matrices, wanted, strict=True)
        ]
        first = tape.nodes[0]
        self.projected = torch.empty_like(first.products[:, 0]) if needs[0] and first is not None else None
        self.idle = outputs.new_zeros(count - 1) if needs[2] else None
        # Gradients of the states, and of the states after dropout.
        self.direct = torch.empty_like(tape.states[0])
        self.dropped = self.direct if self.mask is None else torch.empty_like(self.direct)

    def run(self, grads_TBH: Tensor) -> list[Tensor | None]:
        """The gradients of the function's inputs, in their order; None for unused inputs."""
        grad_BH = torch.zeros_like(grads_TBH[0])
        for step in range(len(grads_TBH) - 1, -1, -1):
            grad_BH = self._step(step, grads_TBH[step] + grad_BH)
        matrices = [None if node is None else node.matrix for node in self.nodes]
        weights = [None if node is None or not node.wants_weights else node.node.kind.gathered() for node in self.nodes]
        own = [self.projected, None if self.nodes[0] is None else grad_BH, self.idle]
        return [*own, *matrices, *(weights[1:] if self.mixed else [])]

    def _step(self, step: int, grad_BH: Tensor) -> Tensor:
        """One time step: the gradient of the state before it from that of its output."""
        self.direct.zero_()
        self.dropped.zero_()
        self.direct[self.tape.concat] = grad_BH / len(self.tape.cell.concat)
        for index in range(len(self.nodes) - 1, 0, -1):
            if self.tape.reachable[index]:
                self._node(step, index)
        return self._first(step)

    def _node(self, step: int, index: int) -> None:
        tape, node, grad = self.tape, self.nodes[index], self._gathered(index)
        if self.idle is not None:
            self.idle[index - 1] += grad.sum()
        if node is None:
            return
        read, states = node.node.read, tape.states[step]
        grad = tape.norm.backward(grad, states[index], tape.scales[step][index])
        found = node.run(step, states[read], tape.masked[step][read], grad)
        totals = node.node.kind.totals
        if not isinstance(read, slice):
            self._add_scattered(node, read, found if totals is None else found * totals)
            return
        if totals is None:
            self.direct[read].add_(found)
        else:
            self.direct[read].addcmul_(found, totals)
        node.through_product(self.dropped[read])

    def _add_scattered(self, node: NodeBackward, read: Tensor, found: Tensor) -> None:
        self.direct.index_add_(0, read, found)
        through = torch.zeros_like(found)
        node.through_product(through)
        self.dropped.index_add_(0, read, through)

    def _first(self, step: int) -> Tensor:
        tape, node = self.tape, self.nodes[0]
        before = self.outputs[step - 1] if step else tape.hidden_state
        if node is None:
            return torch.zeros_like(before)
        grad = tape.norm.backward(self._gathered(0), tape.states[step, 0], tape.scales[step][0])
        found = node.run(step, before[None], tape.entering[step], grad)
        if self.projected is not None:
            self.projected[step] = node.flat
        through = torch.zeros_like(found)
        node.through_product(through)
        return found[0].add_(through[0]) if self.mask is None else found[0].addcmul_(through[0], self.mask)

    def _gathered(self, index: int) -> Tensor:
        if self.mask is None:
            return self.direct[index].clone()
        return torch.addcmul(self.direct[index], self.dropped[index], self.mask)


def add_product(total: Tensor, left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """``total += left @ right``, with the product in ``dtype``."""
    if dtype is total.dtype:
        return total.addmm_(left, right)
    return total.add_(left.to(dtype) @ right.to(dtype))
