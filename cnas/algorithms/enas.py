"""ENAS: a controller learns by REINFORCE which subnets of the shared weights validate well.

Pham et al. 2018, section 2.2: weights and controller are trained in turns; a weight step runs one sample of the policy,
a controller update follows ``E[(R - b) ∇ log π(a)]`` with the weights fixed and ``R = reward_scale / perplexity`` on a
validation batch, or ``reward_scale * accuracy`` where images are classified. Where the published codes differ, the
defaults are those of google-research's `enas_lm`; ``docs/algorithms/enas.md`` tells what else was chosen.

Legend: K architectures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from cnas.algorithms._candidates import best_of, costs_of, quality, refuse_count
from cnas.algorithms._controller import Controller, ControllerConfig, Rollout
from cnas.algorithms.base import SearchAlgorithm, SearchContext
from cnas.algorithms.limits import LimitedConfig
from cnas.errors import NonFiniteError
from cnas.spaces.base import SearchSpace
from cnas.types import ENAS_PAPER, Architecture, Routing

ROUNDS = 20
"""How often connected architectures are asked of a policy before the uniform sampler fills up."""


class ENAS(SearchAlgorithm):
    """Efficient neural architecture search via parameter sharing.

    Args:
        space: the space to search; only its decisions are looked at.
        config: the hyper-parameters.
        seed: what the controller's first weights are drawn from.
    """

    name = "enas"
    paper = ENAS_PAPER
    config: Config
    baseline: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config(ControllerConfig, LimitedConfig):
        """Hyper-parameters; `enas_lm` is google-research's code of that name."""

        learning_rate: float = 5e-5
        """Of the controller's Adam (`enas_lm`: 5e-5; the paper: 3.5e-4; NATS-Bench: 1e-3)."""
        betas: tuple[float, float] = (0.9, 0.999)
        """Decays of that Adam's moments (`enas_lm`: 0.9, 0.999; the authors' first code: 0, 0.999)."""
        epsilon: float = 1e-8
        """What that Adam adds to a denominator (`enas_lm`: 1e-8; the authors' first code and NATS-Bench: 1e-3)."""
        clip_norm: float | None = None
        """Largest norm of the controller's gradient (NATS-Bench: 5); none leaves it as it is (`enas_lm`)."""
        entropy_weight: float = 1e-5
        """Weight of the entropy bonus in the reward (`enas_lm`: 1e-5; the paper: 1e-4)."""
        cost_weight: float = 0.0
        """What is taken from the reward for each cost that `limit` names, times the cost as a share of its limit."""
        baseline_decay: float = 0.999
        """Decay of the moving average of rewards (`enas_lm`: 0.999); 1 keeps the baseline at 0."""
        reward_scale: float = 80.0
        """The reward is this over the validation perplexity (the paper and all codes: 80), or this times the share of
        right predictions (NATS-Bench: 1)."""
        updates: int = 25
        """Controller updates after every epoch (`enas_lm`: 25)."""
        samples: int = 10
        """Architectures whose gradients are averaged in one update (`enas_lm`: 10)."""
        derive_samples: int = 10
        """Samples among which the final architecture is found; each is scored on all validation batches."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self._require_counts("updates", "samples", "derive_samples")
            self._require_positive("learning_rate", "epsilon", "reward_scale")
            self._require_non_negative("entropy_weight", "cost_weight")
            self._require("cost_weight", not self.cost_weight or self.limit is not None, "0 without search.limit")
            self._require_betas(self.betas)
            clips = self.clip_norm is None or 0 < self.clip_norm < math.inf
            self._require("clip_norm", clips, "a finite number above 0, or none")
            self._require("baseline_decay", 0 < self.baseline_decay <= 1, "above 0, at most 1")

    def __init__(self, space: SearchSpace, config: Config, seed: int) -> None:
        super().__init__(space, config)
        self.controller = Controller(space.decisions(), seed, config)
        self.optimizer = torch.optim.Adam(
            self.controller.parameters(), lr=config.learning_rate, betas=config.betas, eps=config.epsilon
        )
        self.register_buffer("baseline", torch.zeros(()))

    @torch.no_grad()
    def route(self, generator: torch.Generator) -> Routing:
        """One sample of the policy, connected or not: redrawing would train other weights than it runs."""
        return self.space.routing(self.space.architecture(self.controller.draw(generator)))

    def candidates(self, count: int, generator: torch.Generator) -> list[Architecture]:
        """The first ``count`` connected samples of the policy.

        They are independent, so a policy that has settled returns some of them more than once.

        Raises:
            UserError: where there are not as many architectures in the space.
        """
        if not 1 <= count <= self.space.size:
            refuse_count(count, self.space.size, self.space, "architectures")
        return self._draw(count, generator)

    def end_epoch(self, context: SearchContext) -> dict[str, float]:
        """Update the controller ``updates`` times on successive validation batches.

        Returns:
            Means over the updates, of ``best_reward`` the best, of ``baseline`` the last.

        Raises:
            NonFiniteError: where a gradient is not finite; the controller keeps its weights.
        """
        rows = [self._update(context, update) for update in range(self.config.updates)]
        metrics = {key: fmean(row[key] for row in rows) for key in rows[0]}
        return metrics | {"best_reward": max(row["best_reward"] for row in rows), "baseline": rows[-1]["baseline"]}

    def derive(self, context: SearchContext) -> tuple[Architecture, dict[str, float]]:
        """The best of ``derive_samples`` samples and the policy's greedy choice, on all validation batches.

        Raises:
            NonFiniteError: where no loss is finite.
        """
        drawn = self._draw(self.config.derive_samples, context.generator("derive"))
        greedy = self.space.architecture(self.controller.greedy())
        distinct = [*dict.fromkeys([greedy, *drawn] if self.space.is_connected(greedy) else drawn)]
        return best_of(context, distinct)

    def _update(self, context: SearchContext, update: int) -> dict[str, float]:
        """One REINFORCE step; returns its figures."""
        rollout = self.controller.sample(self.config.samples, context.generator("controller", update))
        index = context.epoch * self.config.updates + update
        drawn = self._architectures(rollout)
        rewards = [
            self.config.reward_scale * worth + self.config.entropy_weight * bonus - self._price(one)
            for one, worth, bonus in zip(
                drawn, self._qualities(context, drawn, index), rollout.bonus.tolist(), strict=True
            )
        ]
        baseline, advantages = follow(float(self.baseline), rewards, self.config.baseline_decay)
        loss = -(rollout.log_probs * rollout.log_probs.new_tensor(advantages)).mean()
        norm = self._step(loss)
        self.baseline.fill_(baseline)
        return {
            "reward": fmean(rewards),
            "best_reward": max(rewards),
            "baseline": baseline,
            "policy_entropy": float(rollout.entropy.mean()),
            "controller_loss": float(loss.detach()),
            "controller_grad_norm": norm,
        }

    def _step(self, loss: Tensor) -> float:
        """Descend once; returns the norm of the gradient before it is clipped."""
        assert self.optimizer is not None
        self.optimizer.zero_grad()
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.controller.parameters(), self.config.clip_norm or math.inf))
        if not math.isfinite(norm):
            raise NonFiniteError(f"the norm of the controller's gradient is {norm}; its weights were not updated")
        self.optimizer.step()
        return norm

    def _price(self, architecture: Architecture) -> float:
        """What its costs take from the reward of an architecture."""
        limits = self.config.limits if self.config.cost_weight else {}
        costs = self.space.costs(architecture) if limits else {}
        return self.config.cost_weight * sum(costs[name] / most for name, most in limits.items())

    def _qualities(self, context: SearchContext, architectures: Sequence[Architecture], index: int) -> list[float]:
        """From 0 to 1; each architecture is run once, and a disconnected one, which is worth nothing, not at all."""
        distinct = [found for found in dict.fromkeys(architectures) if self.space.is_connected(found)]
        costs = dict(zip(distinct, costs_of(context, distinct, index), strict=True))
        return [quality(context, costs[found]) if found in costs else 0.0 for found in architectures]

    @torch.no_grad()
    def _draw(self, count: int, generator: torch.Generator) -> list[Architecture]:
        """The first ``count`` connected samples; the space's uniform sampler replaces it for a policy without any."""
        found: list[Architecture] = []
        for _ in range(ROUNDS):
            drawn = self._architectures(self.controller.sample(count, generator))
            found += [architecture for architecture in drawn if self.space.is_connected(architecture)]
            if len(found) >= count:
                return found[:count]
        return found + [self.space.sample(generator) for _ in range(count - len(found))]

    def _architectures(self, rollout: Rollout) -> list[Architecture]:
        return [self.space.architecture(choices) for choices in rollout.choices]


def follow(baseline: float, rewards: Sequence[float], decay: float) -> tuple[float, list[float]]:
    """Let a baseline follow the rewards one by one; each is compared with the baseline that has just seen it.

    Since ``R - b_new = decay * (R - b_old)`` and ``b_old`` does not depend on R, this only scales the unbiased
    gradient.

    Returns:
        (the last baseline, one advantage per reward).

    Example:
        >>> follow(0.0, [1.0, 3.0], 0.5)
        (1.75, [0.5, 1.25])
    """
    advantages = []
    for reward in rewards:
        baseline += (1 - decay) * (reward - baseline)
        advantages.append(reward - baseline)
    return baseline, advantages


NAMES = {"enas": ENAS.Config()}
