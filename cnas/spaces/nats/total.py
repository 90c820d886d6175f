"""A sum of terms that is added up in the cheapest order when all of them are known.

Legend: C channels, P pixels of this process.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor | None, Tensor | None], Tensor]
"""From (what is there to add to, where to write), each if anything, to the sum."""


class Total:
    """Σ of terms [P, C], each perhaps scaled, and of shifts [C]. Terms must not change before `result`.

    Args:
        room: [P, C] to write to; new where None.

    Example:
        >>> total = Total()
        >>> total.add(torch.ones(2, 1), torch.tensor(3.0))
        >>> total.shift(torch.tensor([0.5]))
        >>> total.add_product(torch.ones(2, 1), torch.full((1, 1), 2.0))
        >>> total.result().tolist()
        [[5.5], [5.5]]
    """

    def __init__(self, room: Tensor | None = None) -> None:
        self._room = room
        self._base: Tensor | None = None
        self._shift: Tensor | None = None
        self._steps: list[Step] = []
        self._plain: Tensor | None = None

    def take(self, values_PC: Tensor) -> None:
        """Begin with ``values``, to whose memory the sum will be written; called again, it adds to the first ones."""
        if self._base is None:
            self._base = self._room = values_PC
        else:
            self._base.add_(values_PC)

    def add(self, values_PC: Tensor, factor: Tensor | None = None, lent: bool = False) -> None:
        """Add ``values``, or ``values * factor``.

        Args:
            values_PC: not changed. The sum may be these, where nothing else is added.
            factor: of one element, or [C].
            lent: whether the memory of ``values`` will be used for something else, so that the sum cannot be these.
        """

        def step(start: Tensor | None, out: Tensor | None) -> Tensor:
            if start is None:
                return torch.clone(values_PC) if factor is None else torch.mul(values_PC, factor, out=out)
            if factor is None:
                return torch.add(start, values_PC, out=out)
            return torch.addcmul(start, values_PC, factor, out=out)

        self._plain = None if lent or factor is not None else values_PC
        self._steps.append(step)

    def add_product(self, values_PC: Tensor, matrix_CC: Tensor) -> None:
        """Add ``values @ matrix``."""

        def step(start: Tensor | None, out: Tensor | None) -> Tensor:
            if start is None:
                return torch.mm(values_PC, matrix_CC, out=out)
            return torch.addmm(start, values_PC, matrix_CC, out=out)

        self._plain = None
        self._steps.append(step)

    def shift(self, shift_C: Tensor) -> None:
        """Add the same to every pixel, before all terms."""
        self._shift = shift_C if self._shift is None else self._shift + shift_C

    def mask(self, values_PC: Tensor) -> None:
        """Set the sum so far to zero where ``values`` are not positive."""

        def step(start: Tensor | None, _: Tensor | None) -> Tensor:
            assert start is not None
            found: Tensor = torch.ops.aten.threshold_backward.grad_input(start, values_PC, 0, grad_input=start)
            return found

        self._plain = None
        self._steps.append(step)

    @property
    def own(self) -> bool:
        """Whether the result is in memory of its own, and not one of the terms."""
        return self._base is not None or self._shift is not None or len(self._steps) > 1 or self._plain is None

    def result(self) -> Tensor | None:
        """The sum; None where nothing was added."""
        if not self.own:
            return self._plain
        if self._base is None and not self._steps:
            return None
        if self._base is not None and self._shift is not None:
            self._base.add_(self._shift)
        total = self._shift if self._base is None else self._base
        out = self._room
        for step in self._steps:
            total = out = step(total, out)
        return total
