"""The ENAS supernet: one matrix per (node, source, operation), of which a routing uses some.

Legend: E edges (node i, source j), O operations, B sequences, T tokens, H hidden units, K candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cnas.spaces._gated_cell import Gates, Term, run_cell
from cnas.spaces._language_model import NO_MASKS, LanguageModelShell, LanguageModelSizes, tied_cross_entropy
from cnas.spaces.base import Decision, SuperNet
from cnas.spaces.enas_rnn.cell import run_cells
from cnas.types import Batch, Output, Routing


class EnasRnnSuperNet(SuperNet):
    """Shared weights of all ENAS recurrent cells.

    Args:
        sizes: widths, dropouts and regularisers.
        decisions: one per node, as `EnasRnnSpace.decisions` lists them.
        operations: names of the activations.
    """

    def __init__(self, sizes: LanguageModelSizes, decisions: Sequence[Decision], operations: Sequence[str]) -> None:
        super().__init__()
        self.decisions, self.operations = tuple(decisions), tuple(operations)
        hidden = sizes.hidden_size
        edges = sum(len(decision.edges) for decision in decisions)
        self.shell, self.outcomes = LanguageModelShell(sizes), sizes.vocab_size
        self.input_matrix = nn.Parameter(torch.empty(hidden, 2 * hidden))
        self.recurrent_matrix = nn.Parameter(torch.empty(hidden, 2 * hidden))
        # Separate parameters, so that a step's gradients and updates cost only what the step has used.
        self.matrices = nn.ParameterList(
            nn.Parameter(torch.empty(hidden, 2 * hidden)) for _ in range(edges * len(operations))
        )
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -sizes.init_range, sizes.init_range)
        if self.shell.decoder.bias is not None:
            nn.init.zeros_(self.shell.decoder.bias)

    def matrix(self, edge: int, operation: int) -> Tensor:
        """The [H, 2H] matrix of one edge and operation."""
        return self.matrices[edge * len(self.operations) + operation]

    def zero_hidden_state(self, rows: int) -> Tensor:
        """Zeros [rows, H]."""
        return self.input_matrix.new_zeros(rows, self.shell.sizes.hidden_size)

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

    def forward_many(
        self, batch: Batch, routings: Sequence[Routing], hidden_states: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Losses float32 [K, B, T] of K paths in one batched pass; mixtures fall to the loop of the base class."""
        if not all(routing.unit for routing in routings):
            return super().forward_many(batch, routings, hidden_states)
        zero = self.zero_hidden_state(len(batch.inputs))
        with torch.no_grad():
            raw_TKBH, hidden_KBH = run_cells(
                self.shell.embed(batch.inputs, NO_MASKS),
                torch.stack([zero if hidden_state is None else hidden_state for hidden_state in hidden_states]),
                self.input_matrix,
                self.recurrent_matrix,
                [[terms[0] for terms in self._terms(routing)] for routing in routings],
            )
            labels = batch.labels.t()[:, None].expand(raw_TKBH.shape[:-1])
            losses = tied_cross_entropy(raw_TKBH.flatten(0, 2), self.shell.decoder, labels.flatten())
        return losses.view(labels.shape).permute(1, 2, 0), list(hidden_KBH)

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
        """The zero-valued sums of inactive weights, by which a hard sample's gradient reaches what was not run."""
        if not routing.weights.requires_grad:
            return None
        active = set(routing.active[0])
        idle = [[pair for pair in decision.options if pair not in active] for decision in self.decisions]
        weights = routing.weights[0].to(self.input_matrix)
        return [torch.stack([weights[pair] for pair in pairs]).sum() if pairs else None for pairs in idle]
