"""The architectures of NATS-Bench's topology space, as a benchmark compares them: by their notation."""

from __future__ import annotations

from cnas.errors import UserError
from cnas.spaces.base import SearchSpace
from cnas.spaces.nats.space import NatsSpace, read
from cnas.types import Architecture

SIZE = NatsSpace().size
"""How many architectures there are: 15,625."""


def notation(architecture: Architecture | str) -> str:
    """The string of an architecture, checked.

    Raises:
        UserError: it is of another space, or the string departs from the notation; the message has the position.
    """
    if isinstance(architecture, str):
        read(architecture)
        return architecture
    if architecture.space != NatsSpace.name:
        raise UserError(f"architecture must be of the space {NatsSpace.name}, got one of {architecture.space}")
    return architecture.to_str()


def covers(space: SearchSpace) -> bool:
    """Whether a space's architectures are those of the benchmark, whatever the sizes of its networks."""
    return space.name == NatsSpace.name


def accuracy(value: object, where: str) -> float:
    """``value`` if it is a percentage.

    Raises:
        UserError: it is not; ``where`` says which it is.
    """
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100
    if not good:
        raise UserError(f"{where} must be an accuracy from 0 to 100, got {str(value)[:40]!r}")
    return float(value)  # type: ignore[arg-type]
