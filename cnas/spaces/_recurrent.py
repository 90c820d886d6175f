"""What the recurrent spaces share: decisions, sizes, and a supernet's weights and its losses of K paths.

Legend: E edges (node i, source j), O operations, B sequences, T tokens, H hidden units, K candidates.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cnas.spaces._gated_cell import ACTIVATIONS
from cnas.spaces._language_model import LanguageModelShell, LanguageModelSizes, tied_cross_entropy
from cnas.spaces.base import Decision, SearchSpace, SuperNet
from cnas.types import Architecture, Batch, Choice, Routing


@dataclass(frozen=True, kw_only=True)
class RecurrentSpace(LanguageModelSizes, SearchSpace):
    """A space of recurrent cells in which every node reads one earlier node through one activation."""

    network_sizes: ClassVar[type[Any]] = LanguageModelSizes

    nodes: int = 8
    """Nodes of the cell after the input node."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.nodes <= 64:
            raise ValueError(f"nodes must be between 1 and 64, got {self.nodes}")

    def decisions(self) -> tuple[Decision, ...]:
        """One decision per node: i sources × 4 activations for node i."""
        activations = tuple(index for index, name in enumerate(self.operations) if name in ACTIVATIONS)
        edges = [tuple(range(node * (node - 1) // 2, node * (node + 1) // 2)) for node in range(1, self.nodes + 1)]
        return tuple(
            Decision(target=len(edges_in), edges=edges_in, sources=tuple(range(len(edges_in))), operations=activations)
            for edges_in in edges
        )

    def pairs(self, choices: Sequence[Choice]) -> list[tuple[int, int]]:
        """(source, operation) of every node, for one choice per decision."""
        decisions = zip(self.decisions(), choices, strict=True)
        return [(decision.edges.index(edge), operation) for decision, (edge, operation) in decisions]

    def network_fields(self, architecture: Architecture, sizes: dict[str, Any]) -> dict[str, Any]:
        """The fields of the configuration of a stand-alone network; ``sizes`` are fields of `LanguageModelSizes`."""
        inherited = {field.name: getattr(self, field.name) for field in fields(LanguageModelSizes)}
        pairs = self.pairs(architecture.choices)
        return {
            "sources": [source for source, _ in pairs],
            "activations": [self.operations[operation] for _, operation in pairs],
            **asdict(LanguageModelSizes(**{**inherited, **sizes})),
        }


class RecurrentSuperNet(SuperNet):
    """The shared weights of recurrent cells: a language model's shell and one [H, 2H] matrix per input of a node.

    Args:
        sizes: widths, dropouts and regularisers.
        decisions: one per node, as `RecurrentSpace.decisions` lists them.
        operations: names of the activations.
        matrices: how many there are, beside the two of the input node.
    """

    def __init__(
        self, sizes: LanguageModelSizes, decisions: Sequence[Decision], operations: Sequence[str], matrices: int
    ) -> None:
        super().__init__()
        self.decisions, self.operations = tuple(decisions), tuple(operations)
        hidden = sizes.hidden_size
        self.shell, self.outcomes = LanguageModelShell(sizes), sizes.vocab_size
        self.input_matrix = nn.Parameter(torch.empty(hidden, 2 * hidden))
        self.recurrent_matrix = nn.Parameter(torch.empty(hidden, 2 * hidden))
        # Separate parameters, so that a step's gradients and updates cost only what the step has used.
        self.matrices = nn.ParameterList(nn.Parameter(torch.empty(hidden, 2 * hidden)) for _ in range(matrices))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -sizes.init_range, sizes.init_range)
        if self.shell.decoder.bias is not None:
            nn.init.zeros_(self.shell.decoder.bias)

    def zero_hidden_state(self, rows: int) -> Tensor:
        """Zeros [rows, H]."""
        return self.input_matrix.new_zeros(rows, self.shell.sizes.hidden_size)

    @abstractmethod
    def run_paths(self, batch: Batch, routings: Sequence[Routing], hidden_KBH: Tensor) -> tuple[Tensor, Tensor] | None:
        """Outputs [T, K, B, H] and next states [K, B, H] of K paths at once; None where one is no single path."""

    @torch.no_grad()
    def forward_many(
        self, batch: Batch, routings: Sequence[Routing], hidden_states: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Losses float32 [K, B, T] of K paths in one batched pass; mixtures are run one by one."""
        zero = self.zero_hidden_state(len(batch.inputs))
        hidden_KBH = torch.stack([zero if hidden_state is None else hidden_state for hidden_state in hidden_states])
        found = self.run_paths(batch, routings, hidden_KBH) if all(routing.unit for routing in routings) else None
        if found is None:
            return super().forward_many(batch, routings, hidden_states)
        raw_TKBH, hidden_KBH = found
        labels = batch.labels.t()[:, None].expand(raw_TKBH.shape[:-1])
        losses = tied_cross_entropy(raw_TKBH.flatten(0, 2), self.shell.decoder, labels.flatten())
        return losses.view(labels.shape).permute(1, 2, 0), list(hidden_KBH)
