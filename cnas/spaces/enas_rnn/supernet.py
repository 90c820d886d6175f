"""The ENAS supernet: one matrix per (node, source, operation), of which a routing uses some.

Legend: E edges (node i, source j), O operations, B sequences, T tokens, H hidden units, K candidates, L nodes after
node 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from cnas.spaces._gated_cell import Gates, Term, run_cell
from cnas.spaces._language_model import NO_MASKS, LanguageModelSizes
from cnas.spaces._paths import run_paths
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
            self._idle(routing),
        )
        losses, penalty = self.shell.losses(raw_BTH, batch.labels, masks)
        return Output(losses, None, hidden_state, penalty)

    def run_paths(self, batch: Batch, routings: Sequence[Routing], hidden_KBH: Tensor) -> tuple[Tensor, Tensor]:
        """Run K paths at once; a node is one batched product over K."""
        projected_TBG = torch.matmul(self.shell.embed(batch.inputs, NO_MASKS).transpose(0, 1), self.input_matrix)
        nodes_K = [[terms[0] for terms in self._terms(routing)] for routing in routings]
        matrices_N = [torch.stack([term.matrix for term in terms]) for terms in zip(*nodes_K, strict=True)]
        products_N = [partial(multiplied, matrix) for matrix in (self.recurrent_matrix, *matrices_N)]
        plain_K = [[(term.source, term.activation) for term in terms] for terms in nodes_K]
        concat = range(1, len(products_N))
        return run_paths(projected_TBG.to(hidden_KBH.dtype), hidden_KBH, products_N, plain_K, concat)

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

    def _idle(self, routing: Routing) -> tuple[Tensor, ...] | None:
        """Zero-valued sums of inactive weights, through which a hard sample's gradient reaches what was not run."""
        active = set(routing.active[0])
        if not routing.weights.requires_grad or all(active.issuperset(each.options) for each in self.decisions):
            return None
        return self.idle(routing.weights[0].to(self.input_matrix), active).unbind()


def multiplied(matrix: Tensor, states_KBH: Tensor) -> Tensor:
    """[K, B, 2H], with one matrix for all or one for each of the K."""
    return torch.matmul(states_KBH, matrix).to(states_KBH.dtype)
