"""The DARTS supernet: one matrix a node, shared by all its predecessors and activations.

Legend: E edges (node i, source j), O operations, B rows, T tokens, H hidden units, K candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnas.spaces._language_model import NO_MASKS, LanguageModelShell, LanguageModelSizes, Masks, tied_cross_entropy
from cnas.spaces._memory import BufferPool
from cnas.spaces.base import Decision, SuperNet
from cnas.spaces.darts_rnn.cell import Cell, Node, run_search_cell
from cnas.spaces.darts_rnn.paths import run_paths
from cnas.types import Batch, Choice, Output, Routing


@dataclass(frozen=True)
class _Plan:
    """One decision under a routing."""

    node: Node
    edges: list[int]  # of the node's sources
    operations: list[int]  # of the node's activations
    run: list[list[bool]]  # [S, K], whether the pair is run
    idle: list[Choice]  # the pairs that are not

    @property
    def single(self) -> bool:
        return len(self.edges) == 1 == len(self.operations)


class DartsRnnSuperNet(SuperNet):
    """Shared weights of all DARTS recurrent cells; nodes are normalised with statistics of the batch at hand.

    Args:
        sizes: widths, dropouts and regularisers.
        decisions: one per node, as `DartsRnnSpace.decisions` lists them.
        operations: names of the activations, ``none`` among them.
        concat: the nodes whose mean is output and next state.
    """

    batch_statistics = True

    def __init__(
        self,
        sizes: LanguageModelSizes,
        decisions: Sequence[Decision],
        operations: Sequence[str],
        concat: Sequence[int],
    ) -> None:
        super().__init__()
        self.decisions, self.operations, self.concat = tuple(decisions), tuple(operations), tuple(concat)
        hidden = sizes.hidden_size
        self.shell, self.memory, self.outcomes = LanguageModelShell(sizes), BufferPool(), sizes.vocab_size
        self.input_matrix = nn.Parameter(torch.empty(hidden, 2 * hidden))
        self.recurrent_matrix = nn.Parameter(torch.empty(hidden, 2 * hidden))
        self.matrices = nn.ParameterList(nn.Parameter(torch.empty(hidden, 2 * hidden)) for _ in decisions)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -sizes.init_range, sizes.init_range)
        if self.shell.decoder.bias is not None:
            nn.init.zeros_(self.shell.decoder.bias)

    def zero_hidden_state(self, rows: int) -> Tensor:
        """Zeros [rows, H]."""
        return self.input_matrix.new_zeros(rows, self.shell.sizes.hidden_size)

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

    def forward_many(
        self, batch: Batch, routings: Sequence[Routing], hidden_states: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Losses float32 [K, B, T] of K paths in one batched pass; mixtures fall to the loop of the base class."""
        plans_K = [self._plans(routing) for routing in routings]
        if not all(routing.unit for routing in routings) or not all(plan.single for plans in plans_K for plan in plans):
            return super().forward_many(batch, routings, hidden_states)
        zero = self.zero_hidden_state(len(batch.inputs))
        with torch.no_grad():
            raw_TKBH, hidden_KBH = run_paths(
                self._projected(batch, NO_MASKS),
                torch.stack([zero if hidden_state is None else hidden_state for hidden_state in hidden_states]),
                [self.recurrent_matrix, *self.matrices],
                [[(plan.node.sources[0], plan.node.activations[0]) for plan in plans] for plans in plans_K],
                self.concat,
                batch.all_reduce_sum,
            )
            labels = batch.labels.t()[:, None].expand(raw_TKBH.shape[:-1])
            losses = tied_cross_entropy(raw_TKBH.flatten(0, 2), self.shell.decoder, labels.flatten())
        return losses.view(labels.shape).permute(1, 2, 0), list(hidden_KBH)

    def _projected(self, batch: Batch, masks: Masks) -> Tensor:
        """All input projections of the chunk, one product; time first makes every step's slice contiguous."""
        inputs_BTH = self.shell.embed(batch.inputs, masks)
        return torch.matmul(inputs_BTH.transpose(0, 1), self.input_matrix).to(inputs_BTH.dtype)

    def _plans(self, routing: Routing) -> list[_Plan]:
        active = set(routing.active[0])
        return [self._plan(decision, active) for decision in self.decisions]

    def _plan(self, decision: Decision, active: set[Choice]) -> _Plan:
        run = [pair for pair in decision.options if pair in active]
        edges, operations = sorted({edge for edge, _ in run}), sorted({operation for _, operation in run})
        sources = dict(zip(decision.edges, decision.sources, strict=True))
        return _Plan(
            node=Node(tuple(sources[edge] for edge in edges), tuple(self.operations[index] for index in operations)),
            edges=edges,
            operations=operations,
            run=[[(edge, operation) in active for operation in operations] for edge in edges],
            idle=[pair for pair in decision.options if pair not in active],
        )

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
        idle = [sum((weights_EO[pair] for pair in plan.idle), weights_EO.new_zeros(())) for plan in plans]
        return tables, torch.stack(idle)
