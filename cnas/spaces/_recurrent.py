"""What the recurrent spaces share: decisions, sizes, and a supernet's weights and its losses of K paths.

Legend: E edges (node i, source j), O operations, B sequences, T tokens, H hidden units, K candidates.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnas.random import HOST, to_device
from cnas.spaces._cross_entropy import tied_cross_entropy
from cnas.spaces._gated_cell import ACTIVATIONS
from cnas.spaces._language_model import NO_MASKS, LanguageModelShell, LanguageModelSizes
from cnas.spaces._plain import Cell, Model, language_model, shell_tensors, shell_weights
from cnas.spaces.base import Decision, SearchSpace
from cnas.spaces.pure import PureForward
from cnas.spaces.supernet import SuperNet
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


class PureCell(NamedTuple):
    """A routing as a cell that is a pure function, and what that reads; see `PureForward`."""

    cell: Cell
    tensors: dict[str, Tensor]
    matrices: dict[str, int]  # by the function's name, the place in `RecurrentSuperNet.matrices`
    unused: frozenset[str] = frozenset()


@lru_cache(maxsize=8)
def _places(
    decisions: tuple[Decision, ...],
    columns: tuple[int, ...],
    width: int,
    active: tuple[Choice, ...],
    device: torch.device,
) -> Tensor:
    """Where in [E, O] the weights of `RecurrentSuperNet.table` are, flattened; behind the end where there is none."""
    found, edges = set(active), max(edge for each in decisions for edge in each.edges) + 1
    nodes = len(decisions)
    places = torch.full((nodes, nodes, len(columns)), edges * width, device=HOST)
    for node, each in enumerate(decisions):
        for source, edge in enumerate(each.edges):
            for place, column in enumerate(columns):
                if (edge, column) in found:
                    places[node, source, place] = edge * width + column
    return to_device(places, device)


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

    def draw_ahead(self, batch: Batch) -> None:
        """Draw the dropout masks of a batch."""
        self.shell.host_masks(len(batch.inputs), batch.dropout_seeds)

    def table(self, weights_EO: Tensor, active: tuple[Choice, ...]) -> Tensor:
        """The weights [N, N, M] of a routing by node, source and activation; 0 for what is not active, or not there."""
        columns = tuple(self.operations.index(name) for name in ACTIVATIONS)
        places_NNM = _places(self.decisions, columns, len(self.operations), active, weights_EO.device)
        return F.pad(weights_EO.flatten(), (0, 1))[places_NNM]

    def pure(self, batch: Batch, routing: Routing) -> PureForward | None:
        """See `SuperNet.pure`; statistics of batches that are spread over processes are for `forward` alone."""
        if self.batch_statistics and batch.all_reduce_sum is not None:
            return None
        rows = len(batch.inputs)
        state = self.zero_hidden_state(rows) if batch.hidden_state is None else batch.hidden_state
        found = self.pure_path([routing], None) if self._is_path(routing) else self.pure_mixture(routing)
        if found is None:
            return None
        masks, model = self.shell.host_masks(rows, batch.dropout_seeds), Model(self.shell.sizes, self.training)
        return self._pure(found, shell_tensors(masks, batch.inputs, batch.labels, state), model)

    def pure_many(
        self, batch: Batch, routings: Sequence[Routing], hidden_states: Sequence[Tensor | None]
    ) -> PureForward | None:
        """See `SuperNet.pure_many`; paths alone."""
        if self.batch_statistics and batch.all_reduce_sum is not None:
            return None
        if not all(routing.unit and self._is_path(routing) for routing in routings):
            return None
        zero = self.zero_hidden_state(len(batch.inputs))
        state_KBH = torch.stack([zero if hidden_state is None else hidden_state for hidden_state in hidden_states])
        tensors = shell_tensors(NO_MASKS, batch.inputs, batch.labels, state_KBH)
        return self._pure(self.pure_path(routings, len(routings)), tensors, Model(self.shell.sizes, training=False))

    def _is_path(self, routing: Routing) -> bool:
        """Whether every decision has one active pair."""
        active = set(routing.active[0])
        return all(sum(pair in active for pair in decision.options) == 1 for decision in self.decisions)

    def _pure(self, found: PureCell, tensors: dict[str, Tensor], model: Model) -> PureForward:
        own = {name: name for name in ("input_matrix", "recurrent_matrix")}
        own |= {name: f"matrices.{place}" for name, place in found.matrices.items()}
        return PureForward(
            key=(found.cell, model),
            function=partial(language_model, cell=found.cell, model=model),
            tensors=tensors | found.tensors,
            weights=shell_weights(self.shell.decoder.bias is not None) | own,
            unused=found.unused,
        )

    def pure_path(self, routings: Sequence[Routing], count: int | None) -> PureCell:
        """One path, or K at once.

        Args:
            routings: one active pair of every decision each.
            count: K; None for the one.
        """
        pairs_KN = [self._pairs(routing) for routing in routings]
        numbers_NK2 = torch.tensor(
            [[self._numbers(node, *pairs[node]) for pairs in pairs_KN] for node in range(len(self.decisions))],
            device=HOST,
        )
        shape = (-1,) if count is None else (len(self.decisions), count, 1, 1)
        tensors = {
            name: numbers_NK2[..., place].reshape(shape) for place, name in enumerate(("sources", "activations"))
        }
        if count is None:
            tensors |= self._weights_of_path(routings[0], pairs_KN[0])
        cell, matrices = self.path_matrices(pairs_KN, count)
        return PureCell(cell, tensors, matrices, self.unread(pairs_KN[0]))

    def _pairs(self, routing: Routing) -> list[Choice]:
        active = set(routing.active[0])
        return [next(pair for pair in decision.options if pair in active) for decision in self.decisions]

    def _numbers(self, node: int, edge: int, operation: int) -> tuple[int, int]:
        """The source and the activation of a pair, as `cnas.spaces._plain.Path` counts them."""
        decision, names = self.decisions[node], [*ACTIVATIONS]
        return decision.sources[decision.edges.index(edge)], names.index(self.operations[operation])

    def _weights_of_path(self, routing: Routing, pairs: Sequence[Choice]) -> dict[str, Tensor]:
        """Where they are not all 1, the weights of its pairs; of a hard sample the sums of all others too, zeros."""
        learns = routing.weights.requires_grad
        if routing.unit and not learns:
            return {}
        weights_EO = routing.weights[0].to(self.input_matrix.dtype)
        scales_N = torch.stack([weights_EO[pair] for pair in pairs])
        return {"scales": scales_N} | ({"idle": self.idle(weights_EO, set(pairs))} if learns else {})

    def idle(self, weights_EO: Tensor, active: set[Choice]) -> Tensor:
        """Per node the sum of the weights of its options that are not active, [N]."""
        zero = weights_EO.new_zeros(())
        return torch.stack(
            [sum((weights_EO[pair] for pair in each.options if pair not in active), zero) for each in self.decisions]
        )

    @abstractmethod
    def path_matrices(self, pairs_KN: Sequence[Sequence[Choice]], count: int | None) -> tuple[Cell, dict[str, int]]:
        """The cell of paths, and the places of the matrices that they read; arguments as in `pure_path`."""

    @abstractmethod
    def unread(self, pairs: Sequence[Choice]) -> frozenset[str]:
        """The matrices of a path on which its output does not depend, by the names of `path_matrices`."""

    @abstractmethod
    def pure_mixture(self, routing: Routing) -> PureCell | None:
        """A mixture, or a hard sample with several sources of a node; None where it must be run as it is."""

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
