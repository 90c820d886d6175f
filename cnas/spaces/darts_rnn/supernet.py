"""The DARTS supernet: one matrix a node, shared by all its predecessors and activations.

Legend: E edges (node i, source j), O operations, B rows, T tokens, H hidden units, G = 2H, K candidates, N nodes with
node 0, S sources of a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from cnas.spaces._language_model import NO_MASKS, LanguageModelSizes, Masks
from cnas.spaces._memory import BufferPool
from cnas.spaces._paths import run_paths
from cnas.spaces._plain import Cell as PureFunction
from cnas.spaces._recurrent import PureCell, RecurrentSuperNet
from cnas.spaces.base import Decision
from cnas.spaces.darts_rnn.cell import run_search_cell
from cnas.spaces.darts_rnn.norm import BatchNorm
from cnas.spaces.darts_rnn.plain import MixtureCell, NormedPathCell
from cnas.spaces.darts_rnn.tape import Cell, Node, multiply
from cnas.types import Batch, Choice, Output, Routing


@dataclass(frozen=True)
class _Plan:
    """What of one decision a routing runs."""

    node: Node
    edges: list[int]  # of the node's sources
    operations: list[int]  # of the node's activations
    run: list[list[bool]]  # [S, K], whether the pair is run
    idle: list[Choice]  # the pairs that are not

    @property
    def single(self) -> bool:
        return len(self.edges) == 1 == len(self.operations)


@lru_cache(maxsize=8)
def _plans(
    decisions: tuple[Decision, ...], operations: tuple[str, ...], active: tuple[Choice, ...]
) -> tuple[_Plan, ...]:
    """What of every decision a routing runs; mixtures ask for the same again in every step."""
    found = set(active)
    return tuple(_plan(decision, operations, found) for decision in decisions)


def _plan(decision: Decision, names: tuple[str, ...], active: set[Choice]) -> _Plan:
    run = [pair for pair in decision.options if pair in active]
    edges, operations = sorted({edge for edge, _ in run}), sorted({operation for _, operation in run})
    sources = dict(zip(decision.edges, decision.sources, strict=True))
    return _Plan(
        node=Node(tuple(sources[edge] for edge in edges), tuple(names[index] for index in operations)),
        edges=edges,
        operations=operations,
        run=[[(edge, operation) in active for operation in operations] for edge in edges],
        idle=[pair for pair in decision.options if pair not in active],
    )


class DartsRnnSuperNet(RecurrentSuperNet):
    """Shared weights of all DARTS recurrent cells; nodes are normalised with statistics of the batch at hand.

    Args:
        sizes: widths, dropouts and regularisers.
        decisions: one per node, as `DartsRnnSpace.decisions` lists them.
        operations: names of the activations, ``none`` among them.
        concat: the nodes whose mean is output and next state.
    """

    batch_statistics = True

    def __init__(
        self, sizes: LanguageModelSizes, decisions: Sequence[Decision], operations: Sequence[str], concat: Sequence[int]
    ) -> None:
        super().__init__(sizes, decisions, operations, len(decisions))
        self.concat, self.memory = tuple(concat), BufferPool()

    def forward(self, batch: Batch, routing: Routing) -> Output:
        """Per-token losses of one routing: a path, a soft mixture or a hard sample. Logits are never held at once."""
        rows = len(batch.inputs)
        masks = self.shell.masks(rows, batch.dropout_seeds)
        hidden_state = self.zero_hidden_state(rows) if batch.hidden_state is None else batch.hidden_state
        plans = self._plans(routing)
        cell = Cell(tuple(plan.node for plan in plans), self.concat, masks.hidden, batch.all_reduce_sum, self.memory)
        raw_TBH = run_search_cell(
            cell,
            self._projected(batch, masks),
            hidden_state,
            [self.recurrent_matrix, *self.matrices],
            *self._weights(routing, plans),
        )
        losses, penalty = self.shell.losses(raw_TBH.transpose(0, 1), batch.labels, masks)
        return Output(losses, None, raw_TBH[-1], penalty)

    def run_paths(self, batch: Batch, routings: Sequence[Routing], hidden_KBH: Tensor) -> tuple[Tensor, Tensor] | None:
        """Run K paths at once; they share one matrix a node, so that a node is one product for all."""
        plans_K = [self._plans(routing) for routing in routings]
        if not all(plan.single for plans in plans_K for plan in plans):
            return None
        nodes_K = [[(plan.node.sources[0], plan.node.activations[0]) for plan in plans] for plans in plans_K]
        room_KBG = hidden_KBH.new_empty(*hidden_KBH.shape[:2], 2 * hidden_KBH.shape[2])
        products_N = [partial(_multiplied, matrix, room_KBG) for matrix in (self.recurrent_matrix, *self.matrices)]
        norm, projected_TBG = BatchNorm(hidden_KBH, batch.all_reduce_sum), self._projected(batch, NO_MASKS)
        return run_paths(projected_TBG, hidden_KBH, products_N, nodes_K, self.concat, norm.apply_)

    def path_matrices(
        self,
        pairs_KN: Sequence[Sequence[Choice]],  # noqa: ARG002
        count: int | None,  # noqa: ARG002
    ) -> tuple[PureFunction, dict[str, int]]:
        """See `RecurrentSuperNet`; all pairs of a node share a matrix."""
        return NormedPathCell(len(self.decisions), self.concat), self._places()

    def unread(self, pairs: Sequence[Choice]) -> frozenset[str]:
        """See `RecurrentSuperNet`."""
        return self._unread(_plans(self.decisions, self.operations, tuple(pairs)))

    def pure_mixture(self, routing: Routing) -> PureCell | None:
        """See `RecurrentSuperNet`; where the output depends on node 0."""
        plans = self._plans(routing)
        if not self._reachable(plans)[0]:
            return None
        weights_EO = routing.weights[0].to(self.input_matrix.dtype)
        tensors = {"table": self.table(weights_EO, routing.active[0])}
        if routing.weights.requires_grad and any(plan.idle for plan in plans):
            tensors["idle"] = self.idle(weights_EO, set(routing.active[0]))
        return PureCell(MixtureCell(len(plans), self.concat), tensors, self._places(), self._unread(plans))

    def _places(self) -> dict[str, int]:
        return {f"matrix{node}": node for node in range(len(self.decisions))}

    def _reachable(self, plans: Sequence[_Plan]) -> list[bool]:
        return Cell(tuple(plan.node for plan in plans), self.concat, None, None, self.memory).reachable()

    def _unread(self, plans: Sequence[_Plan]) -> frozenset[str]:
        """The matrices of nodes that read nothing, or that nothing reads."""
        reachable = self._reachable(plans)[1:]
        return frozenset(
            f"matrix{node}" for node, plan in enumerate(plans) if not (reachable[node] and plan.node.sources)
        )

    def _projected(self, batch: Batch, masks: Masks) -> Tensor:
        """All input projections of the chunk, one product; time first makes every step's slice contiguous."""
        inputs_BTH = self.shell.embed(batch.inputs, masks)
        return torch.matmul(inputs_BTH.transpose(0, 1), self.input_matrix).to(inputs_BTH.dtype)

    def _plans(self, routing: Routing) -> tuple[_Plan, ...]:
        return _plans(self.decisions, self.operations, routing.active[0])

    def _weights(self, routing: Routing, plans: Sequence[_Plan]) -> tuple[list[Tensor] | None, Tensor | None]:
        """The weights [S, K] of every node's pairs, and the sums of the weights of what is not run."""
        if routing.unit and all(plan.single for plan in plans):
            return None, None
        weights_EO = routing.weights_like(self.input_matrix)[0]
        tables = [
            weights_EO[plan.edges][:, plan.operations] * torch.tensor(plan.run).to(weights_EO)
            if plan.edges
            else weights_EO[:0, :0]
            for plan in plans
        ]
        if not routing.weights.requires_grad:
            return tables, None
        return tables, self.idle(weights_EO, set(routing.active[0]))


def _multiplied(matrix: Tensor, room_KBG: Tensor, states_KBH: Tensor) -> Tensor:
    multiply(states_KBH.flatten(0, 1), matrix, room_KBG.flatten(0, 1))
    return room_KBG
