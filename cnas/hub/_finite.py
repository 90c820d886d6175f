"""Which values out of somebody's file count as numbers."""

from __future__ import annotations

from typing import Any, TypeGuard

LARGEST = 1e100
"""Nothing that is measured is larger, and what is could not be drawn."""


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether ``value`` is a number that can be printed, drawn and added.

    Example:
        >>> is_finite(2), is_finite(True), is_finite(float("nan")), is_finite(10**400), is_finite("2")
        (True, False, False, False, False)
    """
    # NaN is in no interval; an integer of any length can be compared.
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
