"""An optimiser's step that is as if it had never been where it was a bad one, decided on the device.

Nobody waits for the verdict: what a step may change is copied before it, and afterwards each tensor is chosen from
before and after by a 0/1 tensor. A good step keeps its bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Pairs = list[tuple[Tensor, Tensor]]
"""(a tensor, what it was)."""


class Undo:
    """Keeps copies, in memory that is used again in every step.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.tensor([torch.nan, 1.0])
        >>> Undo().step(torch.optim.SGD([weight], lr=0.5), [weight], good=torch.tensor(False))
        >>> weight.tolist()
        [1.0, 1.0]
    """

    def __init__(self) -> None:
        self._spare: dict[Tensor, Tensor] = {}
        self._optimizer: Any = None

    @torch.no_grad()
    def keep(self, tensors: Sequence[Tensor]) -> Pairs:
        """Copy ``tensors``, for `restore`."""
        for tensor in tensors:
            if tensor not in self._spare:
                self._spare[tensor] = torch.empty_like(tensor)
        pairs = [(tensor, self._spare[tensor]) for tensor in tensors]
        if pairs:
            torch._foreach_copy_([before for _, before in pairs], list(tensors))
        return pairs

    @staticmethod
    @torch.no_grad()
    def restore(pairs: Pairs, good: Tensor) -> None:
        """Where ``good`` is false, make every tensor what it was."""
        for tensor, before in pairs:
            torch.where(good, tensor, before, out=tensor)

    def step(self, optimizer: Any, parameters: Sequence[Tensor], good: Tensor) -> None:
        """One step of ``optimizer`` on ``parameters``, of which weights and the optimiser's state keep the good ones.

        Args:
            optimizer: of torch, or one that Accelerate has prepared.
            parameters: those that have a gradient.
            good: bool, a scalar on the device of the parameters.
        """
        if optimizer is not self._optimizer:
            self._spare, self._optimizer = {}, optimizer
        state = optimizer.state
        fresh = [parameter for parameter in parameters if not state.get(parameter)]
        values = (value for parameter in parameters for value in state.get(parameter, {}).values())
        pairs = self.keep([*parameters, *(value for value in values if isinstance(value, Tensor))])
        optimizer.step()
        self.restore(pairs, good)
        # What the step has made has no before. That comes once for every parameter, so here the host may ask.
        made = [parameter for parameter in fresh if state.get(parameter)]
        if made and not bool(good):
            for parameter in made:
                del state[parameter]
