"""The folder of a run: opened before anything is computed, never overwritten."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnas import run_lock
from cnas.errors import StorageError, UserError
from cnas.run_config import RunConfig
from cnas.run_links import refuse_links
from cnas.training.metrics_log import json_safe

OWN = (
    "result.json",
    "search.json",
    "metrics.jsonl",
    "checkpoints",
    "model",
    "figures",
    "report.html",
    "README.md",
    ".eval_results",
    "misclassified.json",
)
"""What a run writes, and so must not be somebody else's."""
TOLD = 8
"""So many fields that differ are named."""


class RunFolder:
    """``config.json``, ``metrics.jsonl``, ``checkpoints/``, ``result.json`` and the rest of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_hash = ""

    def look(self, config: RunConfig, *, resume: bool) -> dict[str, Any] | None:
        """Whether the run may use the folder, which stays as it is; the finished result where there is one already.

        Args:
            config: of the run; the folder's own ``config.json`` must equal it.
            resume: whether a folder that holds a run may be gone on with.

        Raises:
            UserError: the folder is a file, holds something and ``resume`` is not set, or another configuration.
        """
        self.config_hash = config.hash
        self._check_path()
        refuse_links(self.path)
        known = self.read_json("config.json")
        if not resume and any(path.name != run_lock.NAME for path in self.path.glob("*")):
            raise UserError(f"output_dir {self.path} already holds files; add --resume or name a new folder")
        if known is not None:
            self._compare(known, config)
        elif strange := [name for name in OWN if self._holds(name)]:
            raise UserError(f"output_dir {self.path} holds {strange[0]} but no config.json; name a new folder")
        return self.read_json("result.json")

    def _check_path(self) -> None:
        try:
            nearest = next((path for path in (self.path, *self.path.parents) if path.exists()), self.path)
            if nearest.exists() and not nearest.is_dir():
                raise UserError(f"output_dir {self.path}: {nearest} is a file; name a folder")
        except OSError as problem:
            raise UserError(f"output_dir {str(self.path)[:60]!r} cannot be used: {problem.strerror}") from problem

    def make(self) -> None:
        """Make the folder where there is none.

        Raises:
            StorageError: the disk refuses.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise StorageError(f"cannot write {self.path}: {problem.strerror}") from problem

    def begin(self, config: RunConfig) -> None:
        """Say in the folder what the run is; only the main process does.

        Raises:
            StorageError: it cannot be written.
        """
        if not self._holds("config.json"):
            self.write_json("config.json", config.to_json())

    def has_progress(self) -> bool:
        """Whether there is anything to go on from."""
        return self._holds("search.json") or self._holds("checkpoints/*/step-*")

    def _holds(self, pattern: str) -> bool:
        return any(self.path.glob(pattern))

    def _compare(self, known: dict[str, Any], config: RunConfig) -> None:
        RunConfig.from_json(known)
        mine, theirs = scalars(config.to_json()), scalars(known)
        changed = [name for name in sorted({*mine, *theirs}, key=_rank) if mine.get(name) != theirs.get(name)]
        if changed:
            told = [
                f"{name} is {theirs.get(name)!r:.60} there and {mine.get(name)!r:.60} here" for name in changed[:TOLD]
            ]
            more = f", and {len(changed) - TOLD} more" if len(changed) > TOLD else ""
            raise UserError(
                f"output_dir {self.path} holds a run with another configuration: {', '.join(told)}{more}; "
                "name a new folder"
            )

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The contents of one file; None where there is none.

        Raises:
            UserError: it cannot be read, or is not a JSON object.
        """
        file = self.path / name
        try:
            found = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise UserError(f"{file} cannot be read: {problem.strerror}") from problem
        except RecursionError as problem:
            raise UserError(f"{file} is nested too deeply") from problem
        except ValueError as problem:
            raise UserError(f"{file} is not JSON: {problem}") from problem
        if not isinstance(found, dict):
            raise UserError(f"{file} must hold a JSON object, got {type(found).__name__}")
        return found

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        """Write one file whole or not at all; a number that is none becomes null.

        Raises:
            StorageError: the disk refuses.
        """
        self.make()
        stage = self.path / f".{name}.tmp"
        try:
            with stage.open("w", encoding="utf-8") as file:
                file.write(json.dumps(json_safe(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            stage.replace(self.path / name)
        except OSError as problem:
            with suppress(OSError):
                stage.unlink()
            raise StorageError(f"cannot write {self.path / name}: {problem.strerror}") from problem


def _rank(name: str) -> tuple[bool, str]:
    """What a part is comes before how it is set."""
    return not name.endswith(".name"), name


def scalars(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= scalars(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
