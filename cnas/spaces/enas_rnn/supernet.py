"""The ENAS supernet: one matrix per (node, source, operation), of which a routing uses some.

Legend: E edges (node i, source j), O operations, B sequences, T tokens, H hidden units, K candidates, L nodes after
node 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnas.spaces._gated_cell import IN_PLACE, Gates, Term, gate, run_cell
from cnas.spaces._language_model import NO_MASKS, LanguageModelSizes
from cnas.spaces._plain import PathCell
from cnas.spaces._recurrent import PureCell, RecurrentSuperNet
from cnas.spaces.base import Decision
from cnas.spaces.enas_rnn.plain import MixtureCell
from cnas.types import Batch, Choice, Output, Routing


class EnasRnnSuperNet(RecurrentSuperNet):
    """Shared weights of all ENAS recurrent cells.

    Args:
        sizes: widths, dropouts and regularisers.
        decisions: one per node, as `EnasRnnSpace.decisions` lists them.
        operations: names of the activations.
    """

    def __init__(self, sizes: LanguageModelSizes, decisions: Sequence[Decision], operations: Sequence[str]) -> None:
        edges = sum(len(decision.edges) for decision in decisions)
        super().__init__(sizes, decisions, operations, edges * len(operations))

    def matrix(self, edge: int, operation: int) -> Tensor:
        """The [H, 2H] matrix of one edge and operation."""
        return self.matrices[self._place(edge, operation)]

    def forward(self, batch: Batch, routing: Routing) -> Output:
        """Per-token losses of one routing: a path, a soft mixture or a hard sample. Logits are never held at once."""
        rows = len(batch.inputs)
        masks = self.shell.masks(rows, batch.dropout_seeds)
        hidden_state = self.zero_hidden_state(rows) if batch.hidden_state is None else batch.hidden_state
        raw_BTH, hidden_state = run_cell(
            self.shell.embed(batch.inputs, masks),
            hidden_state,
            Gates(self.input_matrix, self.recurrent_matrix, self._terms(routing)),
            masks.hidden,
            self._offsets(routing),
        )
        losses, penalty = self.shell.losses(raw_BTH, batch.labels, masks)
        return Output(losses, None, hidden_state, penalty)

    def run_paths(self, batch: Batch, routings: Sequence[Routing], hidden_KBH: Tensor) -> tuple[Tensor, Tensor]:
        """Run K paths at once; a node is one batched product over K."""
        return run_cells(
            self.shell.embed(batch.inputs, NO_MASKS),
            hidden_KBH,
            self.input_matrix,
            self.recurrent_matrix,
            [[terms[0] for terms in self._terms(routing)] for routing in routings],
        )

    def path_matrices(self, pairs_KN: Sequence[Sequence[Choice]], count: int | None) -> tuple[PathCell, dict[str, int]]:
        """See `RecurrentSuperNet`; every pair has a matrix of its own."""
        nodes, several = len(self.decisions), count is not None
        places = {
            f"matrix{node}.{k}" if several else f"matrix{node}": self._place(*pairs[node])
            for node in range(nodes)
            for k, pairs in enumerate(pairs_KN)
        }
        return PathCell(nodes, tuple(range(1, nodes + 1)), paths=count), places

    def unread(self, pairs: Sequence[Choice]) -> frozenset[str]:  # noqa: ARG002
        """None: the output is the mean of all nodes."""
        return frozenset()

    def pure_mixture(self, routing: Routing) -> PureCell | None:
        """See `RecurrentSuperNet`; the mixture of everything."""
        if not set(routing.active[0]).issuperset(pair for decision in self.decisions for pair in decision.options):
            return None
        table_NNM = self.table(routing.weights[0].to(self.input_matrix.dtype), routing.active[0])
        matrices = {f"matrix{place}": place for place in range(len(self.matrices))}
        return PureCell(MixtureCell(len(self.decisions)), {"table": table_NNM}, matrices)

    def _place(self, edge: int, operation: int) -> int:
        return edge * len(self.operations) + operation

    def _terms(self, routing: Routing) -> list[list[Term]]:
        active = set(routing.active[0])
        return [
            [
                Term(
                    source,
                    self.operations[operation],
                    self.matrix(edge, operation),
                    None if routing.unit else routing.weights[0, edge, operation].to(self.input_matrix),
                )
                for edge, source in zip(decision.edges, decision.sources, strict=True)
                for operation in decision.operations
                if (edge, operation) in active
            ]
            for decision in self.decisions
        ]

    def _offsets(self, routing: Routing) -> list[Tensor | None] | None:
        """Zero-valued sums of inactive weights, through which a hard sample's gradient reaches what was not run."""
        if not routing.weights.requires_grad:
            return None
        active = set(routing.active[0])
        idle = [[pair for pair in decision.options if pair not in active] for decision in self.decisions]
        weights = routing.weights[0].to(self.input_matrix)
        return [torch.stack([weights[pair] for pair in pairs]).sum() if pairs else None for pairs in idle]


def run_cells(
    inputs_BTH: Tensor,
    hidden_KBH: Tensor,
    input_matrix: Tensor,
    recurrent_matrix: Tensor,
    nodes_K: Sequence[Sequence[Term]],
) -> tuple[Tensor, Tensor]:
    """Run K plain architectures at once, without gradient or dropout; each gives what `run_cell` gives.

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
