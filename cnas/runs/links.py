"""Links in a run folder: what is written through one lands wherever somebody else wanted it."""

from __future__ import annotations

from pathlib import Path

from cnas.errors import UserError

TRACKERS = "logs"
"""Of a run folder, what belongs to trackers, which lay links for themselves."""


def refuse_links(folder: Path) -> None:
    """Nothing, where nothing in a folder leads out of it.

    Args:
        folder: of a run; it may be a link itself, and it need not be there.

    Raises:
        UserError: something in it is a link.
    """
    for path in folder.rglob("*"):
        if path.is_symlink() and path.relative_to(folder).parts[0] != TRACKERS:
            place = path.relative_to(folder)
            raise UserError(f"folder {str(folder)[:80]!r} is not written to: {str(place)[:80]!r} in it is a link")
