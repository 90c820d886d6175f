"""How long a command may run: what ``--stop-after 9m`` says, and since when it counts."""

from __future__ import annotations

import math
import re
import time

import psutil

from cnas.errors import UserError
from cnas.fields import display

UNITS = {"s": 1, "m": 60, "h": 3600}
"""Seconds of each unit."""
_TIME = re.compile(r"(\d+(?:\.\d+)?)([smh])", re.ASCII)


def seconds(text: str, name: str = "--stop-after") -> float:
    """The seconds of a time such as ``90s``, ``9m`` or ``1.5h``.

    Args:
        text: a number with the unit s, m or h.
        name: of the field or flag, for the message.

    Raises:
        UserError: it is no such time, or none above 0.

    Example:
        >>> seconds("1.5h")
        5400.0
    """
    found = _TIME.fullmatch(text)
    value = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 0 < value < math.inf:
        raise UserError(f"{name} must be a time above 0, such as 90s, 9m or 1.5h, got {display(text)}")
    return value


def process_started() -> float:
    """When this process began, on the clock of `time.monotonic`: what it imported since then counts too."""
    return time.monotonic() - (time.time() - psutil.Process().create_time())
