"""The architecture relaxed to a mixture with weights α, as in DARTS; hard samples of it; learning it by gradients.

α is one logit per (edge, operation) (Liu et al. 2019, Eq. 2). The Gumbel softmax draws from it and still lets gradients
through: with ``g = -log Exp(1)`` per pair and ``p = softmax((log softmax(α) + g) / τ)`` over every mixture, the sample
is the one-hot vector of the largest p, and the gradient is that of p (Dong and Yang 2019, section 3).

Algorithms that learn α by the validation loss differ in what a weight step runs, in the routing whose loss α descends,
and in how they end.

Legend: E edges, O operations, G mixtures: groups of pairs that share a softmax, M pairs of the largest one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from cnas.algorithms._candidates import costs_of, figures, k_best, refuse_count
from cnas.algorithms.base import AlgorithmConfig, SearchAlgorithm, SearchContext, StepContext
from cnas.errors import NonFiniteError
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
        rows = [[edge * space.shape[1] + operation for edge, operation in group] for group in self.groups]
        places_GM = pad_sequence([torch.tensor(row, device=HOST) for row in rows], batch_first=True, padding_value=-1)
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
        pairs = (zip(*decision.options, strict=True) for decision in self.space.decisions())
        return [log_weights_EO[edges, operations] for edges, operations in pairs]

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
        found, skipped = self.best_available(max(count, 1))
        if not 1 <= count <= len(found):
            refuse_count(count, self.space.size if count < 1 else len(found), self.space)
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


def hard_sample(alphas: Alphas, temperature: float, generator: torch.Generator) -> Routing:
    """One pair of every mixture, drawn from its softmax; float64 weights [1, E, O] in α's graph where there is one.

    The weights are exactly 1 at the drawn pairs and 0 elsewhere. Those that were not drawn have a gradient too: a
    supernet adds them as zero-valued scalars (`cnas.types.Routing`).

    Args:
        alphas: the logits and their mixtures.
        temperature: τ, above 0; the sample does not depend on it, its gradient does.
        generator: the noise is drawn from it, in host memory.
    """
    log_probs_GM = alphas.gathered().log_softmax(dim=1)
    waits_GM = torch.empty(log_probs_GM.shape, dtype=log_probs_GM.dtype, device=HOST).exponential_(generator=generator)
    # A wait of 0, which a draw can be rounded to, would be infinite noise.
    noise_GM = -waits_GM.clamp(min=torch.finfo(waits_GM.dtype).tiny).log()
    scores_GM = log_probs_GM + noise_GM
    probs_GM = (scores_GM / temperature).softmax(dim=1)
    picks_G = scores_GM.argmax(dim=1)
    hot_GM = torch.zeros_like(probs_GM).scatter_(1, picks_G[:, None], 1.0)
    # In this order the first difference is exactly zero, and the sum exactly one-hot.
    weights_EO = alphas.spread((probs_GM - probs_GM.detach()) + hot_GM, 0.0)
    active = tuple(group[pick] for group, pick in zip(alphas.groups, picks_G.tolist(), strict=True))
    return Routing(weights_EO[None], (active,), unit=not weights_EO.requires_grad)


@dataclass(frozen=True, kw_only=True)
class AlphaConfig(AlgorithmConfig):
    """How α descends; the defaults are those of the NATS-Bench code on images."""

    learning_rate: float = 3e-4
    """Of the Adam on α (NATS-Bench: 3e-4)."""
    weight_decay: float = 1e-3
    """Of the Adam on α (`darts` and NATS-Bench: 1e-3)."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Decays of that Adam's moments (NATS-Bench: 0.5, 0.999)."""
    order: Literal["before", "after"] = "after"
    """Whether α is updated before the weights of the same step or after them (NATS-Bench: after)."""

    def __post_init__(self) -> None:
        self._require_positive("learning_rate")
        self._require_non_negative("weight_decay")
        self._require_betas(self.betas)
        self._require("order", self.order in {"before", "after"}, "before, after")


class Relaxed(SearchAlgorithm):
    """An algorithm whose policy is α.

    Args:
        space: the space to search; only its decisions and mixtures are looked at.
        config: how α descends.
        seed: what the first α is drawn from.
    """

    needs_relaxation = True

    def __init__(self, space: SearchSpace, config: AlphaConfig, seed: int) -> None:
        super().__init__(space, config)
        self.arch_order = config.order
        self.alphas = Alphas(space, seed)
        self.optimizer = torch.optim.Adam(
            [self.alphas.logits], lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )

    def gradient(self, context: StepContext) -> Tensor:
        """The gradient [E, O] of α that this step follows: that of the soft mixture's validation loss."""
        return context.valid(self.alphas.routing(), [self.alphas.logits])[0]

    def arch_step(self, context: StepContext) -> None:
        """Move α once down the gradient of the validation loss.

        Raises:
            NonFiniteError: the gradient is NaN or infinite; α and its optimiser are what they were.
        """
        assert self.optimizer is not None
        gradient = self.gradient(context)
        norm = float(gradient.norm())
        if not math.isfinite(norm):
            raise NonFiniteError(f"the norm of the gradient of α is {norm}; α was not updated")
        self.alphas.logits.grad = gradient
        self.optimizer.step()

    def candidates(self, count: int, generator: torch.Generator) -> list[Architecture]:  # noqa: ARG002
        """The ``count`` connected architectures with the largest products of weights.

        Raises:
            UserError: where there are not as many in the space.
        """
        return [found for found, _ in self.alphas.best(count)[0]]

    def end_epoch(self, context: SearchContext) -> dict[str, Any]:  # noqa: ARG002
        """α learns beside the weights; what it looks like now.

        Returns:
            The mean entropy of the mixtures in nats, their weights [E][O], and how often each operation is part of the
            best architecture: one operation everywhere is a search that has collapsed.
        """
        (best,) = self.candidates(1, torch.Generator())
        chosen = Counter(self.space.operations[operation] for _, operation in best.choices)
        weights = self.alphas.weights().tolist()
        return {
            "alpha_entropy": self.alphas.entropy(),
            "alphas": [[float(f"{weight:.6g}") for weight in row] for row in weights],
            "operation_counts": {name: chosen[name] for name in self.space.operations},
        }

    def derive(self, context: SearchContext) -> tuple[Architecture, dict[str, float]]:
        """The connected architecture with the largest product of weights, and how well it validates.

        α alone decides, whatever that is.
        """
        ((best, log_prob),), disconnected = self.alphas.best(1)
        (cost,) = costs_of(context, [best], None)
        return best, figures(context, best, cost) | {"log_probability": log_prob, "disconnected": float(disconnected)}
