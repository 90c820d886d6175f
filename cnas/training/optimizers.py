"""The optimisers of the weights, and the learning rate they take from step to step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cnas.training.arguments import LoopArguments


def sgd(model: nn.Module, config: LoopArguments) -> torch.optim.Optimizer:
    """Stochastic gradient descent, as ``config`` says."""
    return torch.optim.SGD(
        model.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )


def averaged_sgd(model: nn.Module, config: LoopArguments) -> torch.optim.Optimizer:
    """Torch's averaged SGD, whose mean begins with its second step."""
    rate, decay = config.learning_rate, config.weight_decay
    return torch.optim.ASGD(model.parameters(), lr=rate, lambd=0.0, t0=0.0, weight_decay=decay)


def set_learning_rate(optimizer: Any, rate: float) -> None:
    """Let ``optimizer`` take its next step at ``rate``."""
    for group in optimizer.param_groups:
        if group["lr"] != rate:
            group["lr"] = rate
            # Torch's averaged SGD goes by a rate of its own, which it would take from the group a step late.
            for state in optimizer.state.values():
                if "eta" in state:
                    state["eta"].fill_(rate)
