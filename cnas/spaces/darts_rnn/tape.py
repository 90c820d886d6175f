"""The search cell forward: one product a node over all its sources, and a tape of what the way back needs.

The tape is states and products (the carry half after its sigmoid); activations are cheap to compute again.

Legend: T tokens, B rows, H hidden units, G = 2H, N nodes with node 0, S sources of a node, K its activations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cnas.spaces.darts_rnn.mixed_node import MixedNode, Workspace
from cnas.spaces.darts_rnn.norm import BatchNorm
from cnas.spaces.darts_rnn.plain_node import PlainNode

if TYPE_CHECKING:
    from cnas.spaces.darts_rnn.cell import Cell


class NodeTape:
    """What one node leaves at every time step.

    Args:
        kind: what it does with its sources.
        read: where the sources stand among the nodes, see `places`.
        matrix: [H, G].
        products: [T, S, B, G], to be filled.
    """

    def __init__(self, kind: PlainNode | MixedNode, read: Any, matrix: Tensor, products: Tensor) -> None:
        self.kind, self.read, self.matrix, self.products = kind, read, matrix, products
        hidden = products.shape[-1] // 2
        # Views for the whole chunk at once: made one by one, they would cost as much as small operations.
        self.flat = products.flatten(1, 2).unbind(0)
        self.halves = list(zip(products[..., :hidden].unbind(0), products[..., hidden:].unbind(0), strict=True))

    def run(self, slot: int, states_NBH: Tensor, masked_NBH: Tensor, out_BH: Tensor) -> None:
        """Write the node at one time step to ``out``, from the states before it and the same after dropout."""
        multiply(masked_NBH[self.read].flatten(0, 1), self.matrix, self.flat[slot])
        self.kind.run(states_NBH[self.read], *self.halves[slot], out_BH)


class Tape:
    """The cell with its matrices, and what a run of it leaves.

    Args:
        cell: what is run.
        carry: [B, H], the state before the chunk.
        matrices: [H, G] of every node, in the dtype of their products.
        weights: [S, K] of every node after node 0, or none.
    """

    def __init__(self, cell: Cell, carry: Tensor, matrices: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
        self.cell, self.carry, self.matrices = cell, carry, matrices
        self.live = cell.live()
        self.norm = BatchNorm(carry, cell.all_sum)
        self.concat = places(cell.concat, carry.device)
        self.reads = [places(node.sources, carry.device) for node in cell.nodes]
        self.kinds = [PlainNode("tanh"), *_kinds(cell, carry, weights)]

    def run(self, projected_TBG: Tensor, keep: bool) -> Tensor:
        """The outputs [T, B, H]; without ``keep`` only the last time step stays on the tape."""
        length, (rows, hidden), count = len(projected_TBG), self.carry.shape, len(self.kinds)
        slots = length if keep else 1
        self.states = self.carry.new_empty(slots, count, rows, hidden)
        self.masked = self.states if self.cell.hidden_mask is None else torch.empty_like(self.states)
        self.entering = self.carry.new_empty(slots, 1, rows, hidden)  # what a step starts from, after dropout
        self.scales: list[list[Tensor]] = [[] for _ in range(slots)]
        self.nodes = self._nodes(slots, rows, hidden)
        outputs = self.carry.new_empty(length, rows, hidden)
        before = self.carry
        for step in range(length):
            before = self._step(step if keep else 0, projected_TBG[step], before, outputs[step])
        return outputs

    def _nodes(self, slots: int, rows: int, hidden: int) -> list[NodeTape | None]:
        """One for every node that is run and reads something."""
        counts = [1, *(len(node.sources) for node in self.cell.nodes)]
        shapes = [(slots, many if live else 0, rows, 2 * hidden) for many, live in zip(counts, self.live, strict=True)]
        sizes = [math.prod(shape) for shape in shapes]
        self._loan = self.cell.memory.lend(sum(sizes), self.carry)
        products = [part.view(shape) for part, shape in zip(self._loan.values.split(sizes), shapes, strict=True)]
        parts = zip(self.kinds, [slice(0, 1), *self.reads], self.matrices, products, strict=True)
        return [NodeTape(*part) if shape[1] else None for part, shape in zip(parts, shapes, strict=True)]

    def _step(self, slot: int, projected_BG: Tensor, before_BH: Tensor, output_BH: Tensor) -> Tensor:
        states, masked, mask = self.states[slot], self.masked[slot], self.cell.hidden_mask
        scales = self.scales[slot] = []
        for index, (node, state) in enumerate(zip(self.nodes, states.unbind(0), strict=True)):
            if node is None:
                state.zero_()
            elif index:
                node.run(slot, states, masked, state)
            else:
                self._first(slot, node, projected_BG, before_BH, state)
            scales.append(self.norm.apply_(state))
            if mask is not None:
                torch.mul(state, mask, out=masked[index])
        return torch.mean(states[self.concat], 0, out=output_BH)

    def _first(self, slot: int, node: NodeTape, projected_BG: Tensor, before_BH: Tensor, out_BH: Tensor) -> None:
        mask = self.cell.hidden_mask
        entering = self.entering[slot, 0].copy_(before_BH if mask is None else before_BH * mask)
        multiply(entering, node.matrix, node.flat[slot]).add_(projected_BG)
        node.kind.run(before_BH[None], *node.halves[slot], out_BH)


def _kinds(cell: Cell, carry: Tensor, weights: Sequence[Tensor]) -> Sequence[PlainNode | MixedNode]:
    if not weights:
        return [PlainNode(*node.activations) for node in cell.nodes]
    sources, activations = zip(*cell.nodes, strict=True)
    work = Workspace(carry, max(map(len, sources)), max(map(len, activations)))
    return [MixedNode(names, table, work) for names, table in zip(activations, weights, strict=True)]


def multiply(left: Tensor, matrix: Tensor, out: Tensor) -> Tensor:
    """``left @ matrix`` in the dtype of ``matrix``, written to ``out``."""
    if left.dtype is matrix.dtype:
        return torch.mm(left, matrix, out=out)
    return out.copy_(left.to(matrix.dtype) @ matrix)


def places(nodes: Sequence[int], device: torch.device) -> Any:
    """Where nodes stand on their axis: a slice where they follow one another, so that reading them copies nothing."""
    first = nodes[0] if nodes else 0
    if tuple(nodes) == tuple(range(first, first + len(nodes))):
        return slice(first, first + len(nodes))
    return torch.tensor(nodes, device=device)
