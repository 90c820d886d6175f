"""The frozen values that spaces, algorithms and trainers exchange.

Legend: C cells, E edges, O operations, B sequences of a batch, T tokens of a sequence, H hidden units, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cnas.errors import UserError
from cnas.random import DropoutSeeds

Choice = tuple[int, int]
"""One (edge, operation) pair, both counted from 0."""


@dataclass(frozen=True)
class Architecture:
    """One subnet of a search space; hashable, printable and JSON-able.

    Args:
        space: name of the search space that made it, e.g. ``"enas_rnn"``.
        choices: one (edge, operation) pair per decision of the space.
        text: its string in the notation of the space; the space's ``parse`` reads it back.

    Example:
        >>> Architecture("enas_rnn", ((0, 1),), "0 1").to_str()
        '0 1'
    """

    space: str
    choices: tuple[Choice, ...]
    text: str = field(compare=False)

    def to_str(self) -> str:
        """The string that `SearchSpace.parse` reads back."""
        return self.text

    def to_json(self) -> dict[str, str]:
        """``{"space": ..., "string": ...}``, the form written to ``result.json``."""
        return {"space": self.space, "string": self.text}

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Routing:
    """What one forward of a supernet runs: a soft mixture, one path or a hard sample.

    Every edge computes ``sum over active o of weights[o] * op_o(x)``. Entries that are not active are not run; where
    ``weights`` carries a gradient they are still added as zero-valued scalars, so that it reaches them.

    Args:
        weights: float [C|1, E, O]; the first axis is 1 where all cells share a routing.
        active: per cell (or one for all), the (edge, operation) pairs that are run.
        unit: every active weight is the constant 1, so that no product with it is needed.
    """

    weights: Tensor
    active: tuple[tuple[Choice, ...], ...]
    unit: bool = False

    @classmethod
    def path(cls, choices: Sequence[Choice], shape: tuple[int, int]) -> Routing:
        """The routing that runs exactly ``choices`` with weight 1; ``shape`` is (E, O).

        Example:
            >>> Routing.path([(0, 1)], (1, 2)).weights
            tensor([[[0., 1.]]])
        """
        return cls.paths([choices], shape)

    @classmethod
    def paths(cls, cells: Sequence[Sequence[Choice]], shape: tuple[int, int]) -> Routing:
        """The routing that runs in every cell a path of its own, with weight 1.

        Args:
            cells: per cell, its (edge, operation) pairs; a single cell stands for all.
            shape: (E, O).

        Example:
            >>> routing = Routing.paths([[(0, 1)], [(0, 0)]], (1, 2))
            >>> routing.weights.tolist(), routing.active
            ([[[0.0, 1.0]], [[1.0, 0.0]]], (((0, 1),), ((0, 0),)))
        """
        weights = torch.zeros(len(cells), *shape)
        for cell, choices in enumerate(cells):
            for edge, operation in choices:
                weights[cell, edge, operation] = 1.0
        return cls(weights, tuple(tuple(choices) for choices in cells), unit=True)

    def weights_like(self, values: Tensor) -> Tensor:
        """``weights`` [C|1, E, O] with the dtype and on the device of ``values``, as part of the same graph."""
        # First the dtype: not every accelerator knows float64, in which algorithms may keep their weights.
        return self.weights.to(values.dtype).to(values.device)


@dataclass(frozen=True)
class Batch:
    """The rows of one global batch that one process works on.

    Args:
        inputs: [B, ...]; token ids int64 [B, T] for text.
        labels: int64 [B, ...]; the next tokens [B, T] for text.
        unit_ids: int64, shape of ``labels``: which curriculum unit each loss belongs to.
        hidden_state: the state of a recurrent network before the chunk, [B, H]; None elsewhere.
        dropout_seeds: where dropout draws from; None draws from torch's global generator.
        all_reduce_sum: the sum of a tensor over the processes that share the global batch, differentiable; None where
            there is one process. Batch normalisation takes its statistics through it.
    """

    inputs: Tensor
    labels: Tensor
    unit_ids: Tensor
    hidden_state: Tensor | None = None
    dropout_seeds: DropoutSeeds | None = None
    all_reduce_sum: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Output:
    """What the forward pass of a supernet returns.

    Args:
        losses: float32, shape of ``labels``, unreduced, whatever the autocast dtype.
        logits: [*labels.shape, classes], or None where the forward never holds them all at once.
        hidden_state: the next chunk's hidden_state, with its graph; the caller detaches.
        penalty: float32 scalar, the network's own regularisers averaged over its rows; curriculum weights never
            touch it.
        buffers: by name, what buffers of the network become; only of pure forwards (`cnas.spaces.pure`), which change
            none themselves.
    """

    losses: Tensor
    logits: Tensor | None
    hidden_state: Tensor | None
    penalty: Tensor
    buffers: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """An architecture among others of a finished search.

    Args:
        architecture: of the space.
        loss: mean validation loss in nats, with the weights that all architectures share.
        parameters: how many numbers the network made of it learns.
        flops: floating-point operations of one forward pass, for one token or one image.
    """

    architecture: Architecture
    loss: float
    parameters: int
    flops: int


@dataclass(frozen=True)
class FrontPoint:
    """An architecture of which no other is better in everything: in its loss and in what it costs.

    Args:
        architecture: in the notation of the space.
        loss: mean validation loss in nats, with the weights that all architectures share.
        costs: by name, as `SearchSpace.costs` has them, and what was measured.
    """

    architecture: str
    loss: float
    costs: Mapping[str, float]


@dataclass(frozen=True)
class ScoredPoint(FrontPoint):
    """An architecture whose loss is known with the weights that all architectures share.

    Args:
        architecture: in the notation of the space.
        loss: mean validation loss in nats.
        costs: by name, as `SearchSpace.costs` has them, and what was measured.
        random: whether it was drawn uniformly from the whole space, to compare with.
    """

    random: bool = False


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Args:
        architecture: what was found; None where that is a front, on which somebody must choose.
        epochs: how many the search took.
        steps: weight steps, all epochs together.
        seconds: wall-clock time, over all parts of a resumed run.
        valid: what the algorithm reports about its choice, e.g. the validation loss in nats.
        trouble: ``bad_steps``, ``recoveries``, ``left_out``: how often numbers were not finite, and what came of it.
        history: a row for every epoch, as ``metrics.jsonl`` has them.
        ranked: n architectures, best first; see `top`.
        front: the best trade-offs of loss and costs, the smallest loss first; empty where none were looked for.
        scored: what the search has scored in the end, the smallest and the largest architecture and random ones; empty
            where the architectures have no sizes.
    """

    architecture: Architecture | None
    epochs: int
    steps: int
    seconds: float
    valid: dict[str, Any]
    trouble: dict[str, int] = field(default_factory=dict)
    history: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    ranked: Callable[[int], list[Candidate]] | None = field(default=None, repr=False, compare=False)
    front: tuple[FrontPoint, ...] = ()
    scored: tuple[ScoredPoint, ...] = field(default=(), repr=False)

    @property
    def metrics(self) -> dict[str, Any]:
        """All figures of the search by name."""
        return {"epochs": self.epochs, "steps": self.steps, "seconds": self.seconds, **self.valid, **self.trouble}

    def top(self, count: int) -> list[Candidate]:
        """The best architectures among the found one and those the algorithm now proposes.

        Each is scored on all validation data with the shared weights, so this takes a pass for every ten.

        Args:
            count: how many.

        Raises:
            UserError: ``count`` is below 1 or above the number of architectures, or the result has no search behind it.
        """
        if self.ranked is None:
            raise UserError("top needs the result of CurriculumTrainer.search")
        return self.ranked(count)


@dataclass(frozen=True)
class Paper:
    """Where a method was published; cards cite it.

    Args:
        title: as printed.
        authors: first and last names, separated by commas.
        year: of publication.
        url: where to read it.
    """

    title: str
    authors: str
    year: int
    url: str


ENAS_PAPER = Paper(
    title="Efficient Neural Architecture Search via Parameter Sharing",
    authors="Hieu Pham, Melody Y. Guan, Barret Zoph, Quoc V. Le, Jeff Dean",
    year=2018,
    url="https://arxiv.org/abs/1802.03268",
)
DARTS_PAPER = Paper(
    title="DARTS: Differentiable Architecture Search",
    authors="Hanxiao Liu, Karen Simonyan, Yiming Yang",
    year=2019,
    url="https://arxiv.org/abs/1806.09055",
)
"""These two have an algorithm and a space."""
