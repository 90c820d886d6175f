"""What is said of a configuration that cannot be: of a field, and of a number of judges that a space does not have."""

from __future__ import annotations

from typing import NoReturn

from cnas.errors import UserError
from cnas.spaces.base import SearchSpace


class Checked:
    """Base of the configurations; each asks for what its fields have to be."""

    def _require(self, field: str, holds: bool, allowed: str) -> None:
        """Raise a `UserError` with the field's value and what is allowed, unless it holds."""
        if not holds:
            raise UserError(f"search.{field} is {getattr(self, field)!r}; allowed: {allowed}")

    def _require_betas(self, betas: tuple[float, float]) -> None:
        """The two factors of Adam's running means."""
        holds = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
        self._require("betas", holds, "two numbers, each at least 0 and below 1")


def refuse_count(count: int, most: int, space: SearchSpace, kind: str = "connected architectures") -> NoReturn:
    """Say that there are not so many judges.

    Args:
        count: how many were asked for.
        most: how many there are.
        space: which has no more.
        kind: what is counted.

    Raises:
        UserError: always.
    """
    raise UserError(f"curriculum.k is {count}; allowed: 1 to {most}, the {kind} of {space.name}")
