"""The folder of a run: opened before anything is computed, never overwritten."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cnas.errors import StorageError, UserError
from cnas.run_config import RunConfig

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
        known = self.read_json("config.json")
        if self._holds("*") and not resume:
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

    def begin(self, config: RunConfig) -> None:
        """Make the folder, and say in it what the run is; only the main process does.

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
        changed = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
        if changed:
            name = changed[0]
            raise UserError(
                f"output_dir {self.path} holds a run with another configuration: {name} is {theirs.get(name)!r} there "
                f"and {mine.get(name)!r} here ({len(changed)} field(s) differ); name a new folder"
            )

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The contents of one file; None where there is none.

        Raises:
            UserError: it is not JSON.
        """
        try:
            found: dict[str, Any] = json.loads((self.path / name).read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as problem:
            raise UserError(f"{self.path / name} is not JSON: {problem}") from problem
        return found

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        """Write one file whole or not at all.

        Raises:
            StorageError: the disk refuses.
        """
        stage = self.path / f".{name}.tmp"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with stage.open("w", encoding="utf-8") as file:
                file.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            stage.replace(self.path / name)
        except OSError as problem:
            raise StorageError(f"cannot write {self.path / name}: {problem.strerror}") from problem


def scalars(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= scalars(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
