"""How the processes of a run watch one another: told to a start of a run, and no part of what the run computes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cnas.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """What a start of a run is told about its processes; another start of the same run may be told otherwise.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """

    check_ranks: int | None = None
    """Compare all that the processes hold, bit for bit, every so many steps and before every checkpoint."""
    process_timeout: float = 600.0
    """Seconds after which a process that waits for another one gives up."""

    def __post_init__(self) -> None:
        if self.check_ranks is not None and self.check_ranks < 1:
            raise UserError(f"check_ranks must be at least 1 or none, got {self.check_ranks}")
        if not 1 <= self.process_timeout < math.inf:
            raise UserError(f"process_timeout must be at least 1 second and finite, got {self.process_timeout}")
