"""The folder of a run: opened before anything is computed, never overwritten."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cnas.errors import StorageError, UserError
from cnas.run_config import RunConfig


class RunFolder:
    """``config.json``, ``metrics.jsonl``, ``checkpoints/``, ``result.json`` and the rest of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_hash = ""

    def open(self, config: RunConfig, *, resume: bool, create: bool) -> dict[str, Any] | None:
        """Make or check the folder; the finished result where there is one already.

        Args:
            config: of the run; the folder's own ``config.json`` must equal it.
            resume: whether a folder that holds a run may be gone on with.
            create: whether this process writes (the main one does).

        Raises:
            UserError: the folder is a file, holds something and ``resume`` is not set, or another configuration.
            StorageError: it cannot be written.
        """
        self.config_hash = config.hash
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"output_dir {self.path} is a file; name a folder")
        known = self.read_json("config.json")
        if known is not None and (resume or not create):
            self._compare(known, config)
        elif self._is_used() and not resume and create:
            raise UserError(f"output_dir {self.path} already holds files; add --resume or name a new folder")
        if create and known is None:
            self.write_json("config.json", config.to_json())
        return self.read_json("result.json")

    def _is_used(self) -> bool:
        return self.path.is_dir() and any(self.path.iterdir())

    def _compare(self, known: dict[str, Any], config: RunConfig) -> None:
        RunConfig.from_json(known)
        mine, theirs = _flat(config.to_json()), _flat(known)
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


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
