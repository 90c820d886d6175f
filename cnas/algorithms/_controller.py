"""The ENAS controller: an LSTM that writes an architecture, one decision after the other.

Per decision the LSTM takes a step; if there are several edges, attention over the *anchors* of their source nodes picks
one, and another step follows that has seen it; then the operation is picked. A node's anchor is the hidden state with
which its decision began; nodes nothing has decided (the input of a cell) have the zero anchor. Both as in the
controller of google-research's `enas_lm`, which this follows; unlike it, a decision with a single edge takes one step.

Legend: K architectures written at once, H hidden units, N options of one pick, O operations, S picks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnas.algorithms.base import AlgorithmConfig
from cnas.random import generator
from cnas.spaces.base import Decision
from cnas.types import Choice

Pick = Callable[[Tensor, int], Tensor]
"""(log-probabilities [K, N], number of the pick) -> the option taken, int64 [K]."""
Take = Callable[[Tensor], Tensor]
"""Logits [K, N] -> the option taken, int64 [K]; its figures are added up."""


@dataclass(frozen=True)
class Rollout:
    """K architectures with what the policy thinks of them; floats in the dtype of the parameters.

    Args:
        choices: per architecture, one (edge, operation) pair per decision.
        log_probs: [K], their log-probabilities in nats, with a graph.
        bonus: [K], the sum over the picks of ``-p log p`` *of the option taken*, without a graph: the reference's
            "entropy" in the reward.
        entropy: [K], the sum over the picks of the entropy of all options, without a graph. Its mean over samples
            estimates the entropy of the policy.
    """

    choices: list[tuple[Choice, ...]]
    log_probs: Tensor
    bonus: Tensor
    entropy: Tensor


@dataclass(frozen=True, kw_only=True)
class ControllerConfig(AlgorithmConfig):
    """What a controller is made of; `enas_lm` is google-research's code of that name."""

    controller_size: int = 64
    """Hidden units of the controller's LSTM (`enas_lm`: 64; the paper: 100)."""
    temperature: float = 5.0
    """Divides the controller's logits (`enas_lm` and the paper: 5)."""
    tanh_constant: float = 2.25
    """Bound on the absolute value of the controller's logits (`enas_lm`: 2.25; the paper: 2.5)."""
    distance_weight: float = 1 / 6
    """Weight of the squared distance that is taken from the logit of an edge (`enas_lm`: 1/6); 0 for none."""
    init_range: float = 0.01
    """The controller's weights start uniform in ± this (`enas_lm`: 0.01; the authors' first code: 0.1)."""

    def __post_init__(self) -> None:
        self._require_counts("controller_size")
        self._require_positive("temperature", "tanh_constant", "init_range")
        self._require_non_negative("distance_weight")


def _drawn_from(generator: torch.Generator) -> Pick:
    def draw(log_probs_KN: Tensor, _: int) -> Tensor:
        probs_KN = log_probs_KN.exp().to(generator.device)
        return torch.multinomial(probs_KN, 1, generator=generator).squeeze(1).to(log_probs_KN.device)

    return draw


class Controller(nn.Module):
    """A policy over the architectures of any space, from its decisions alone.

    Logits are squashed, so that the policy cannot saturate: ``tanh_constant * tanh(logits / temperature)``. From that
    of an edge ``distance_weight * distance²`` is taken, where distance is the difference of its nodes' numbers: near
    sources are preferred.

    Args:
        decisions: the decisions of a space, in its order.
        seed: what the initial weights are drawn from; torch's global generator is left alone.
        config: its sizes.

    Example:
        >>> decisions = (Decision(1, (0,), (0,), (0, 1)), Decision(2, (1, 2), (0, 1), (0, 1)))
        >>> policy = Controller(decisions, 0, ControllerConfig(controller_size=8))
        >>> policy.sample(2, generator(0, "example")).log_probs.shape
        torch.Size([2])
    """

    def __init__(self, decisions: Sequence[Decision], seed: int, config: ControllerConfig) -> None:
        super().__init__()
        self.decisions, self.config, size = tuple(decisions), config, config.controller_size
        operations = 1 + max(operation for decision in decisions for operation in decision.operations)
        self.first = nn.Parameter(torch.empty(size))
        # Without its own initialisation, which would draw from the global generator.
        self.lstm = nn.utils.skip_init(nn.LSTMCell, size, size, bias=False, device=self.first.device)
        self.embedding = nn.Parameter(torch.empty(operations, size))
        self.key = nn.Parameter(torch.empty(size, size))
        self.query = nn.Parameter(torch.empty(size, size))
        self.attention = nn.Parameter(torch.empty(size))
        draws = generator(seed, "controller")
        with torch.no_grad():
            for parameter in self.parameters():
                uniform = torch.rand(parameter.shape, generator=draws, device=draws.device)
                parameter.copy_((2 * uniform - 1) * config.init_range)

    def sample(self, count: int, generator: torch.Generator) -> Rollout:
        """``count`` independent architectures; the same draws whatever the device of the parameters."""
        return self._write(count, _drawn_from(generator))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> tuple[Choice, ...]:
        """The choices that `sample` would draw for one architecture, without its figures."""
        return self._run(1, _drawn_from(generator))[0][0]

    def greedy(self) -> tuple[Choice, ...]:
        """The most probable option of each pick, given the picks before it."""
        with torch.no_grad():
            return self._write(1, lambda log_probs_KN, _: log_probs_KN.argmax(1)).choices[0]

    def _write(self, count: int, pick: Pick) -> Rollout:
        choices, picks, every = self._run(count, pick)
        chosen = [each.gather(1, picked.unsqueeze(1)).squeeze(1) for each, picked in zip(every, picks, strict=True)]
        entropies = [-(fixed.exp() * fixed).sum(1) for fixed in (each.detach() for each in every)]
        log_probs_KS = torch.stack(chosen, 1)
        fixed_KS = log_probs_KS.detach()
        bonus_K = -(fixed_KS.exp() * fixed_KS).sum(1)
        return Rollout(choices, log_probs_KS.sum(1), bonus_K, torch.stack(entropies, 1).sum(1))

    def _run(self, count: int, pick: Pick) -> tuple[list[tuple[Choice, ...]], list[Tensor], list[Tensor]]:
        """Choices [K], picks [K] of every place, and the log-probabilities [K, N] they were picked by."""
        picks: list[Tensor] = []
        every: list[Tensor] = []

        def take(logits_KN: Tensor) -> Tensor:
            every.append(logits_KN.log_softmax(1))
            picks.append(pick(every[-1].detach(), len(picks)))
            return picks[-1]

        inputs_KH = self.first.expand(count, -1)
        zeros_KH = torch.zeros_like(inputs_KH)
        state = (zeros_KH, zeros_KH)
        anchors: dict[int, Tensor] = {}
        for decision in self.decisions:
            state = self.lstm(inputs_KH, state)
            anchor_KH = state[0]
            if len(decision.edges) > 1:
                anchors_KNH = torch.stack([anchors.get(source, zeros_KH) for source in decision.sources], 1)
                state = self.lstm(self._pick_edge(decision, state[0], anchors_KNH, take), state)
            anchors[decision.target] = anchor_KH
            embedding_NH = self.embedding[list(decision.operations)]
            inputs_KH = embedding_NH[take(self._squash(state[0] @ embedding_NH.T))]
        return self._to_choices(torch.stack(picks, 1).tolist()), picks, every

    def _pick_edge(self, decision: Decision, hidden_KH: Tensor, anchors_KNH: Tensor, take: Take) -> Tensor:
        """Pick an edge; returns the next input, the anchor of its source scaled down with distance, [K, H]."""
        distance_N = hidden_KH.new_tensor([decision.target - source for source in decision.sources])
        mixed_KNH = torch.tanh(anchors_KNH @ self.key + (hidden_KH @ self.query).unsqueeze(1))
        # The prior comes after the squashing: it is meant to reach further than the limit.
        picks_K = take(self._squash(mixed_KNH @ self.attention) - self.config.distance_weight * distance_N**2)
        rows_K = torch.arange(len(picks_K), device=picks_K.device)
        return anchors_KNH[rows_K, picks_K] / (0.1 + distance_N[picks_K]).unsqueeze(1)

    def _squash(self, logits: Tensor) -> Tensor:
        return self.config.tanh_constant * torch.tanh(logits / self.config.temperature)

    def _to_choices(self, picks: list[list[int]]) -> list[tuple[Choice, ...]]:
        found = []
        for row in picks:
            rest = iter(row)
            # Tuples are made from left to right: the edge of a decision is picked before its operation.
            found.append(tuple((self._edge(each, rest), each.operations[next(rest)]) for each in self.decisions))
        return found

    @staticmethod
    def _edge(decision: Decision, picks: Iterator[int]) -> int:
        return decision.edges[next(picks) if len(decision.edges) > 1 else 0]
