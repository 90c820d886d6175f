"""The folder of a run: opened before anything is computed, never overwritten."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnas.runs import lock as run_lock
from cnas.data.paths import same_content, same_place
from cnas.errors import StorageError, UserError
from cnas.runs.config import EMBEDDED, RunConfig
from cnas.runs.links import refuse_links
from cnas.training.checkpoint import newest_stamp
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
FILES = ("data", "table", "images.split_file")
"""Fields that name files: what they lead to counts, not how it is spelled."""
TOLD = 8
"""So many fields that differ are named."""


class RunFolder:
    """``config.json``, ``metrics.jsonl``, ``checkpoints/``, ``result.json`` and the rest of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_hash = ""
        """That of the folder's own configuration, where it has one: paths in it may be spelled in another way."""
        self.undecided = False
        """Whether only `check_data` can tell that the folder's run is on the same data."""

    def look(self, config: RunConfig, *, resume: bool) -> dict[str, Any] | None:
        """Whether the run may use the folder, which stays as it is; the finished result where there is one already.

        Args:
            config: of the run; the folder's own ``config.json`` must equal it but for the spelling of paths.
            resume: whether a folder that holds a run may be gone on with.

        Raises:
            UserError: the folder is a file, holds something and ``resume`` is not set, or another configuration.
        """
        self.config_hash, self.undecided = config.hash, False
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

    def check_data(self, config: RunConfig, fingerprint: str) -> None:
        """Nothing, where the folder's run is on data of that fingerprint, or has used none so far.

        Args:
            config: of the run that is to use the folder.
            fingerprint: of its data.

        Raises:
            UserError: it is on other data.
        """
        known = self.fingerprint()
        if known not in (None, fingerprint):
            there, here = (self.read_json("config.json") or {}).get("data"), config.options.data
            raise UserError(
                f"output_dir {self.path} holds a run on other data: {there!r:.60} with the fingerprint {known} there, "
                f"{here!r:.60} with {fingerprint} here; name a new folder, or the data as it was"
            )

    def fingerprint(self) -> str | None:
        """Of the data that the run has used so far; None where nothing tells."""
        result, found = self.read_json("result.json") or {}, self.read_json("search.json") or {}
        dataset = result.get("dataset")
        known = found.get("fingerprint") or (dataset.get("fingerprint") if isinstance(dataset, dict) else None)
        if known is not None:
            return str(known)
        stamps = map(newest_stamp, sorted((self.path / "checkpoints").glob("*")))
        stamp = next((stamp for stamp in stamps if stamp is not None), None)
        return None if stamp is None else stamp.rpartition("-")[2]

    def _compare(self, known: dict[str, Any], config: RunConfig) -> None:
        self.config_hash = RunConfig.from_json(known).hash
        mine, theirs = scalars(config.to_json()), scalars(known)
        changed = [
            name
            for name in sorted({*mine, *theirs}, key=_rank)
            if mine.get(name) != theirs.get(name) and not _same_files(name, mine.get(name), theirs.get(name))
        ]
        # What is done with images may depend on the name of the data: its published statistics.
        self.undecided = changed == ["data"] and config.images is None and self.fingerprint() is not None
        if changed and not self.undecided:
            changes = [
                f"{name} is {theirs.get(name)!r:.60} there and {mine.get(name)!r:.60} here" for name in changed[:TOLD]
            ]
            more = f", and {len(changed) - TOLD} more" if len(changed) > TOLD else ""
            raise UserError(
                f"output_dir {self.path} holds a run with another configuration: {', '.join(changes)}{more}; "
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


def _same_files(name: str, mine: Any, theirs: Any) -> bool:
    """Whether two values of a field that names files mean the same, however they are spelled."""
    if name not in FILES or not isinstance(mine, str) or not isinstance(theirs, str):
        return False
    if name == "data":
        return not {mine, theirs} & {*EMBEDDED} and same_place(mine, theirs)
    return same_place(mine, theirs) or same_content(mine, theirs)


def _rank(name: str) -> tuple[bool, str]:
    """What a part is comes before how it is set."""
    return not name.endswith(".name"), name


def scalars(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= scalars(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
