"""``study.json``: the plan of a study and its hash from the beginning, and what came of it in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnas.errors import UserError
from cnas.fields import display, to_dict
from cnas.runs.folder import RunFolder, refuse_links, scalars
from cnas.studies.plan import Plan

NAME = "study.json"
VERSION = 2
"""Of the layout of ``study.json``; a file of another one is refused."""


@dataclass
class StudyState:
    """What a study must remember between two sittings, beside the folders of its runs.

    Args:
        home: the folder of the study.
        plan: of the study.
        table: the fingerprint of what architectures are worth.
        epochs: of the searches whose cost is that of another run, by the run's name.
        seconds: of wall-clock time, of all sittings.
    """

    home: Path
    plan: Plan
    table: str
    epochs: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def open(cls, home: Path, plan: Plan, table: str, *, resume: bool) -> StudyState:
        """The state of the study in a folder, or of one that is to begin there; nothing is written.

        Args:
            home: the folder.
            plan: of the study.
            table: its fingerprint.
            resume: whether a folder that holds a study may be used.

        Raises:
            UserError: it holds files and ``resume`` is not set, something else, or a study by another plan or table.
        """
        known = RunFolder(home).read_json(NAME) if home.is_dir() else None
        if home.exists() and (not home.is_dir() or (known is None and any(home.iterdir()))):
            raise UserError(f"output_dir {home} holds something that is no study; name a new folder")
        if known is None:
            return cls(home, plan, table)
        refuse_links(home)
        if not resume:
            raise UserError(f"output_dir {home} already holds a study; add --resume or name a new folder")
        if known.get("version") != VERSION:
            raise UserError(f"{home / NAME}: version must be {VERSION}, got {display(known.get('version'))}")
        if known.get("hash") != plan.hash:
            raise UserError(
                f"output_dir {home} holds a study by another plan: {_difference(known.get('plan'), plan)}; runs have "
                "begun, so nothing in it can change any more: give the plan as it was, or name a new folder"
            )
        if known.get("table") != table:
            raise UserError(
                f"output_dir {home} holds a study whose table said something else of the architectures; give the table "
                "as it was, or name a new folder"
            )
        epochs, seconds = known.get("epochs", {}), known.get("seconds", 0.0)
        if not isinstance(epochs, dict) or not isinstance(seconds, int | float):
            raise UserError(f"{home / NAME}: epochs or seconds is not what a study writes")
        return cls(home, plan, table, epochs, float(seconds))

    def save(self, **results: Any) -> None:
        """Write ``study.json``.

        Args:
            results: what the study has come to, once it has.

        Raises:
            StorageError: the disk refuses.
        """
        head = {"version": VERSION, "hash": self.plan.hash, "table": self.table, "plan": to_dict(self.plan)}
        RunFolder(self.home).write_json(NAME, {**head, "epochs": self.epochs, "seconds": self.seconds, **results})


def _difference(known: Any, plan: Plan) -> str:
    """The first entry in which two plans differ, in words."""
    theirs, mine = scalars(known if isinstance(known, dict) else {}), scalars(to_dict(plan))
    names = [name for name in {**mine, **theirs} if theirs.get(name) != mine.get(name)]
    if not names:
        return "its hash is another one"
    return f"{names[0]} is {display(theirs.get(names[0]))} there and {display(mine.get(names[0]))} here"
