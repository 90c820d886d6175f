"""The few units whose weights every row of a search keeps, so that one can see later what became of them."""

from __future__ import annotations

from cnas.errors import UserError

TRACED = 99


def traced_units(num_units: int, count: int = TRACED) -> list[int]:
    """The units whose weights a search records after every epoch: evenly spaced, the same in every run.

    Args:
        num_units: N.
        count: how many; all units where there are fewer.

    Raises:
        UserError: a number is below 1.

    Example:
        >>> traced_units(10, 4)
        [0, 2, 5, 7]
    """
    if num_units < 1 or count < 1:
        raise UserError(f"num_units and count must be at least 1, got {num_units} and {count}")
    traced = min(num_units, count)
    return [place * num_units // traced for place in range(traced)]
