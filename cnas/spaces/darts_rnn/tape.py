"""The forward pass of the search cell, which keeps on a tape what the backward pass needs.

One product a node over all its sources. The tape is states and products (the gate half after its sigmoid); activations
are cheap to compute again.

Legend: T tokens, B rows, H hidden units, G = 2H, N nodes with node 0, S sources of a node, K its activations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cnas.spaces._memory import BufferPool
from cnas.spaces.darts_rnn.nodes import MixedNode, PlainNode, Workspace
from cnas.spaces.darts_rnn.norm import BatchNorm


class Node(NamedTuple):
    """A node after node 0: which earlier nodes it reads, and through what."""

    sources: tuple[int, ...]
    activations: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """The nodes of a search cell, its dropout mask, and where it takes memory from.

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


class NodeTape:
    """One node's products at every time step, kept for the backward pass.

    Args:
        kind: what it does with its sources.
        read: the index of the sources among the nodes, see `index_of`.
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
    """Runs the cell forward over a chunk and keeps states and products.

    Args:
        cell: what is run.
        hidden_state: [B, H], the state before the chunk.
        matrices: [H, G] of every node, in the dtype of their products.
        weights: [S, K] of every node after node 0, or none.
        slots: how many time steps it has room for: all of the chunk, or one where nothing goes back.
    """

    def __init__(
        self, cell: Cell, hidden_state: Tensor, matrices: Sequence[Tensor], weights: Sequence[Tensor], slots: int
    ) -> None:
        self.cell, self.hidden_state, self.slots, self.reachable = cell, hidden_state, slots, cell.reachable()
        self.norm = BatchNorm(hidden_state, cell.all_reduce_sum)
        self.concat = index_of(cell.concat, hidden_state.device)
        counts = [1, *(len(node.sources) for node in cell.nodes)]
        rows, hidden = hidden_state.shape
        products = [
            (slots, many if reachable else 0, rows, 2 * hidden)
            for many, reachable in zip(counts, self.reachable, strict=True)
        ]
        states = (slots, len(counts), rows, hidden)
        sizes = [
            Workspace.elements(hidden_state.shape, *map(_longest, zip(*cell.nodes, strict=True))) if weights else 0
        ]
        # ``entering`` is what a step starts from, ``masked`` what a node reads, both after dropout.
        self._buffers = cell.memory.take(
            [*products, states, states, (slots, 1, rows, hidden), tuple(sizes)], hidden_state
        )
        *buffers, self.states, self.masked, self.entering, work = self._buffers.parts
        self.masked = self.states if cell.hidden_mask is None else self.masked
        self.scales: list[list[Tensor]] = [[] for _ in range(slots)]
        kinds = _kinds(cell, weights, Workspace(work, hidden_state.shape))
        reads = [(0,), *(node.sources for node in cell.nodes)]
        self.nodes = [
            NodeTape(kind, index_of(read, hidden_state.device), matrix, buffer) if buffer.shape[1] else None
            for kind, read, matrix, buffer in zip(kinds, reads, matrices, buffers, strict=True)
        ]

    def run(self, projected_TBG: Tensor) -> Tensor:
        """The outputs [T, B, H]; where there is room for one time step only, the last one stays on the tape."""
        outputs = self.hidden_state.new_empty(len(projected_TBG), *self.hidden_state.shape)
        before = self.hidden_state
        for step, output in enumerate(outputs.unbind(0)):
            before = self._step(step % self.slots, projected_TBG[step], before, output)
        return outputs

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


def _kinds(cell: Cell, weights: Sequence[Tensor], work: Workspace) -> list[PlainNode | MixedNode]:
    first = PlainNode("tanh")
    if not weights:
        return [first, *(PlainNode(*node.activations) for node in cell.nodes)]
    pairs = zip(cell.nodes, weights, strict=True)
    return [first, *(MixedNode(node.activations, table, work) for node, table in pairs)]


def _longest(parts: Sequence[Sequence[object]]) -> int:
    return max(map(len, parts))


def multiply(left: Tensor, matrix: Tensor, out: Tensor) -> Tensor:
    """``left @ matrix`` in the dtype of ``matrix``, written to ``out``."""
    if left.dtype is matrix.dtype:
        return torch.mm(left, matrix, out=out)
    return out.copy_(left.to(matrix.dtype) @ matrix)


def index_of(nodes: Sequence[int], device: torch.device) -> Any:
    """The index that reads nodes: a slice where they follow one another, so that reading them copies nothing."""
    first = nodes[0] if nodes else 0
    if tuple(nodes) == tuple(range(first, first + len(nodes))):
        return slice(first, first + len(nodes))
    return torch.tensor(nodes, device=device)
