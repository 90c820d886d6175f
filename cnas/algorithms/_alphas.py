"""α: one logit per (edge, operation), from which a continuous relaxation takes its weights (Liu et al. 2019, Eq. 2).

Legend: E edges, O operations, G groups of pairs that share a softmax, M pairs of the largest group, N pairs in all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cnas.algorithms._checks import refuse_count
from cnas.algorithms._k_best import k_best
from cnas.random import HOST, generator
from cnas.spaces.base import SearchSpace
from cnas.types import Architecture, Routing


class Alphas(nn.Module):
    """The logits of a space's mixtures, float64 in host memory, and what is read off them.

    Args:
        space: gives the shape, the mixtures and the decisions.
        seed: what the first logits are drawn from.
        scale: their standard deviation (the published codes: 1e-3).

    Attributes:
        logits: float64 [E, O], the one parameter; those of pairs in no mixture are never used.
        groups: the mixtures of the space.
    """

    places: Tensor
    padding: Tensor

    def __init__(self, space: SearchSpace, seed: int, scale: float = 1e-3) -> None:
        super().__init__()
        self.space = space
        drawn_EO = torch.randn(space.shape, generator=generator(seed, "alphas"), dtype=torch.float64, device=HOST)
        self.logits = nn.Parameter(scale * drawn_EO)
        self.groups = space.mixtures()
        self.active = tuple(pair for group in self.groups for pair in group)
        longest, operations = max(map(len, self.groups)), space.shape[1]
        rows = [[edge * operations + operation for edge, operation in group] for group in self.groups]
        padded = [row + [-1] * (longest - len(row)) for row in rows]
        places_GM = torch.tensor(padded, device=HOST)
        self.register_buffer("padding", places_GM < 0, persistent=False)
        self.register_buffer("places", places_GM.clamp(min=0), persistent=False)

    def weights(self) -> Tensor:
        """Float64 [E, O], the softmax over every mixture, part of α's graph; 0 for pairs in no mixture."""
        return self.spread(self.gathered().softmax(dim=1), 0.0)

    @torch.no_grad()
    def log_weights(self) -> Tensor:
        """The logarithm of `weights`, without a graph; ``-inf`` for pairs in no mixture."""
        return self.spread(self.gathered().log_softmax(dim=1), -math.inf)

    def routing(self) -> Routing:
        """The soft mixture of everything, part of α's graph; a `none` operation counts as run."""
        return Routing(self.weights()[None], (self.active,))

    def log_probs(self) -> list[Tensor]:
        """Per decision of the space, the log-weights [options] of its options."""
        log_weights_EO = self.log_weights()
        return [
            log_weights_EO[[edge for edge, _ in options], [operation for _, operation in options]]
            for options in (decision.options for decision in self.space.decisions())
        ]

    @torch.no_grad()
    def entropy(self) -> float:
        """The mean over the mixtures of their weights' entropy, in nats."""
        return float(torch.special.entr(self.gathered().softmax(dim=1)).sum(dim=1).mean())

    def best(self, count: int) -> tuple[list[tuple[Architecture, float]], int]:
        """The connected architectures with the largest products of weights.

        Args:
            count: how many.

        Returns:
            ((architecture, logarithm of the product) with the best first, how many disconnected ones came in between).

        Raises:
            UserError: there are fewer connected ones, or ``count`` is below 1; the message speaks of ``curriculum.k``.
        """
        if count < 1:
            refuse_count(count, self.space.size, self.space)
        found, skipped = self.best_available(count)
        if len(found) < count:
            refuse_count(count, len(found), self.space)
        return found, skipped

    def best_available(self, count: int) -> tuple[list[tuple[Architecture, float]], int]:
        """As `best`, but all connected ones where there are fewer than ``count``, which is at least 1."""
        log_probs, asked = self.log_probs(), count
        while True:
            ranked = [(self._architecture(indices), log_prob) for indices, log_prob in k_best(log_probs, asked)]
            places = [place for place, (found, _) in enumerate(ranked) if self.space.is_connected(found)]
            if len(places) >= count or len(ranked) < asked:
                chosen = places[:count]
                return [ranked[place] for place in chosen], max(chosen, default=-1) + 1 - len(chosen)
            asked *= 2

    def _architecture(self, indices: Sequence[int]) -> Architecture:
        """The architecture that takes option ``indices[i]`` in decision i."""
        decisions = self.space.decisions()
        return self.space.architecture([row.options[index] for row, index in zip(decisions, indices, strict=True)])

    def gathered(self) -> Tensor:
        """The logits by mixture, [G, M]; ``-inf`` where a mixture is shorter."""
        return self.logits.flatten()[self.places].masked_fill(self.padding, -math.inf)

    def spread(self, values_GM: Tensor, empty: float) -> Tensor:
        """Values by mixture at their places in [E, O]."""
        valid_GM = ~self.padding
        flat = self.logits.new_full((self.logits.numel(),), empty)
        return flat.scatter(0, self.places[valid_GM], values_GM[valid_GM]).view_as(self.logits)
