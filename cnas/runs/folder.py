"""The folder of a run: checked before anything is computed, never overwritten, never written through a link."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnas.data.paths import same_content, same_place
from cnas.durable import replace_file, storage_errors
from cnas.errors import UserError
from cnas.runs import lock
from cnas.runs.config import EMBEDDED, RunConfig
from cnas.training.checkpoint import newest_stamp
from cnas.training.metrics_log import json_safe

OWN = (
    "result.json",
    "search.json",
    "latency.json",
    "metrics.jsonl",
    "checkpoints",
    "rankings",
    "model",
    "figures",
    "report.html",
    "README.md",
    ".eval_results",
    "misclassified.json",
)
"""What a run writes, and so must not be somebody else's."""
TRACKERS = "logs"
"""What belongs to trackers, which make links of their own."""
FILES = ("data", "table", "images.split_file")
"""Fields that name files: what they lead to counts, not how it is spelled."""
PRECISION = ("trainer.bf16", "trainer.fp16", "trainer.tf32")
"""Fields that may change when a run goes on; from there on it is no longer the same bit for bit."""
LISTED = 8
"""So many fields that differ are named."""


class RunFolder:
    """``config.json``, ``metrics.jsonl``, ``checkpoints/``, ``result.json`` and the rest of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, config: RunConfig, fingerprint: Callable[[], str], *, resume: bool) -> dict[str, Any] | None:
        """Refuse a folder that the run may not use; return the finished result where there is one. Nothing is written.

        Args:
            config: of the run; the folder's own ``config.json`` must equal it but for the spelling of paths.
            fingerprint: of the run's data, which is read only where the place of the data is all that differs.
            resume: whether a folder that holds a run may be used.

        Raises:
            UserError: the folder is a file, holds something and ``resume`` is not set, another configuration or other
                data.
        """
        self._check_path()
        refuse_links(self.path)
        known = self.read_json("config.json")
        if not resume and any(not path.name.startswith(lock.NAME) for path in self.path.glob("*")):
            raise UserError(f"output_dir {self.path} already holds files; add --resume or name a new folder")
        if known is None and (strange := [name for name in OWN if self._holds(name)]):
            raise UserError(f"output_dir {self.path} holds {strange[0]} but no config.json; name a new folder")
        if known is not None and self._differs_in_data(known, config):
            self.check_data(config, fingerprint())
        return self.read_json("result.json")

    def _check_path(self) -> None:
        try:
            nearest = next((path for path in (self.path, *self.path.parents) if path.exists()), self.path)
            if nearest.exists() and not nearest.is_dir():
                raise UserError(f"output_dir {self.path}: {nearest} is a file; name a folder")
        except OSError as problem:
            raise UserError(f"output_dir {str(self.path)[:60]!r} cannot be used: {problem.strerror}") from problem

    def start(self, config: RunConfig) -> None:
        """Write the run's configuration where there is none; only the main process does.

        Raises:
            StorageError: it cannot be written.
        """
        if not self._holds("config.json"):
            self.write_json("config.json", config.to_json())

    def with_architecture(self, config: RunConfig, text: str) -> RunConfig:
        """The configuration to train an architecture: one on the front that was found, or without a search.

        Args:
            config: of the run.
            text: the architecture, in the notation of the space.

        Raises:
            UserError: the search has found another one.
        """
        found = self.read_json("search.json")
        if found is None:
            return replace(config, architecture=text)
        if found["string"] is None:
            known = [point["architecture"] for point in found["search"]["front"]]
            if text not in known:
                raise UserError(f"architecture must be on the front that was found: {', '.join(known)}; got {text!r}")
            return replace(config, search=replace(config.search, pick=text))
        raise UserError(f"output_dir {self.path} has found {found['string']!r}; train {text!r} in another output_dir")

    def has_progress(self) -> bool:
        """Whether there is anything to go on from."""
        return self._holds("search.json") or self._holds("checkpoints/*/step-*")

    def _holds(self, pattern: str) -> bool:
        return any(self.path.glob(pattern))

    def config_hash(self, config: RunConfig) -> str:
        """The hash of the folder's own configuration, where it has one: paths in it may be spelled in another way."""
        known = self.read_json("config.json")
        return (config if known is None else RunConfig.from_json(known)).hash

    def other_precision(self, config: RunConfig) -> str:
        """What to say where a run goes on in another precision than it began in; empty where it does not."""
        mine, theirs = (scalars(each) for each in (config.to_json(), self.read_json("config.json") or {}))
        changed = [name for name in PRECISION if name in theirs and mine[name] != theirs[name]]
        about = ", ".join(f"{name} is {mine[name]}, and was {theirs[name]} before" for name in changed)
        return about and f"warning: {about}: from here on the run is no longer what it would have been bit for bit"

    def check_data(self, config: RunConfig, fingerprint: str) -> None:
        """Refuse data that is not what the folder's run has used so far.

        Args:
            config: of the run that is to use the folder.
            fingerprint: of its data.

        Raises:
            UserError: it is on other data.
        """
        known = self.fingerprint()
        if known not in (None, fingerprint):
            there, here = (self.read_json("config.json") or {}).get("data"), config.data
            raise UserError(
                f"output_dir {self.path} holds a run on other data: {there!r:.60} with the fingerprint {known} there, "
                f"{here!r:.60} with {fingerprint} here; name a new folder, or the data as it was"
            )

    def fingerprint(self) -> str | None:
        """The fingerprint of the data that the run has used so far; None where it has used none."""
        result, found = self.read_json("result.json") or {}, self.read_json("search.json") or {}
        dataset = result.get("dataset")
        known = found.get("fingerprint") or (dataset.get("fingerprint") if isinstance(dataset, dict) else None)
        if known is not None:
            return str(known)
        stamps = map(newest_stamp, sorted((self.path / "checkpoints").glob("*")))
        stamp = next((stamp for stamp in stamps if stamp is not None), None)
        return None if stamp is None else stamp.partition("-")[2]

    def _differs_in_data(self, known: dict[str, Any], config: RunConfig) -> bool:
        """Whether the place of the data is all that differs; anything else is refused."""
        mine, theirs = scalars(config.to_json()), scalars(RunConfig.from_json(known).to_json())
        names = sorted({*mine, *theirs}, key=lambda name: (not name.endswith(".name"), name))  # kinds come first
        changed = [
            name for name in names if name not in PRECISION and not _same(name, mine.get(name), theirs.get(name))
        ]
        # What is done with images may depend on the name of the data: its published statistics.
        if changed == ["data"] and config.images is None and self.fingerprint() is not None:
            return True
        if changed:
            listed = [f"{name} is {theirs.get(name)!r:.60} there and {mine.get(name)!r:.60} here" for name in changed]
            more = f", and {len(changed) - LISTED} more" if len(changed) > LISTED else ""
            raise UserError(
                f"output_dir {self.path} holds a run with another configuration: {', '.join(listed[:LISTED])}{more}; "
                "name a new folder"
            )
        return False

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
        """Write one file whole or not at all, and the folder where there is none; a number that is none becomes null.

        Raises:
            StorageError: the disk refuses.
        """
        text = json.dumps(json_safe(values), indent=2, ensure_ascii=False, allow_nan=False)
        with storage_errors(str(self.path / name)):
            self.path.mkdir(parents=True, exist_ok=True)
        replace_file(self.path / name, f"{text}\n".encode())


def home_folder(path: Path | str) -> Path:
    """The path, in which a ``~`` at the beginning is the home; what commands and methods do with a folder they get."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - which leaves one alone that is nobody's


def chosen(found: Mapping[str, Any]) -> str:
    """The architecture that a finished search has found, in the notation of its space.

    Args:
        found: the contents of ``search.json``.

    Raises:
        UserError: it has found a front, and nobody has chosen yet.
    """
    if found["string"] is None:
        count = len(found["search"]["front"])
        raise UserError(
            f"the search has found a front of {count} architectures, and there is no search.limit that chooses: go on "
            "with --resume and --search.pick ARCHITECTURE, or in Python with retrain(ARCHITECTURE)"
        )
    return str(found["string"])


def _same(name: str, mine: Any, theirs: Any) -> bool:
    """Whether two values of a field mean the same; those that name files do, however they are spelled."""
    if mine == theirs or name not in FILES or not isinstance(mine, str) or not isinstance(theirs, str):
        return bool(mine == theirs)
    if name == "data":
        return not {mine, theirs} & {*EMBEDDED} and same_place(mine, theirs)
    return same_place(mine, theirs) or same_content(mine, theirs)


def scalars(values: Mapping[str, Any], prefix: str = "", spelled: Callable[[str], str] = str) -> dict[str, Any]:
    """Nested mappings as one, with dotted names; ``spelled`` says how each part of them is written."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        dotted = f"{prefix}{spelled(name)}"
        flat |= scalars(value, f"{dotted}.", spelled) if isinstance(value, Mapping) else {dotted: value}
    return flat


def refuse_links(folder: Path) -> None:
    """Refuse a folder with links in it: what is written through a link lands where it points.

    Args:
        folder: of a run; it may be a link itself, and it need not be there.

    Raises:
        UserError: something in it is a link.
    """
    # A run that is at work moves its files meanwhile: `os.walk` does not mind what is gone.
    for home, folders, files in os.walk(folder):
        for path in (Path(home, name) for name in (*folders, *files)):
            place = path.relative_to(folder)
            if path.is_symlink() and place.parts[0] != TRACKERS:
                raise UserError(f"folder {str(folder)[:80]!r} is not written to: {str(place)[:80]!r} in it is a link")
