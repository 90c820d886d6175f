"""The sizes of a network that is trained on its own."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class NatsNetworkSizes:
    """Sizes of a derived classifier; the defaults are those the benchmark trained.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    channels: int = 16
    """Channels of the first stage; the second has twice, the third four times as many."""
    cells: int = 5
    """Cells in each of the three stages."""

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
