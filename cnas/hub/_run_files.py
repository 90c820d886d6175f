"""Which files of a run go to the Hub, and under which names: a list of what may, so that nothing else can."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cnas.errors import UserError
from cnas.hub._model_code import model_code

Files = dict[str, Path | bytes]
"""By name in the repository, where the bytes are, or the bytes."""

_DESCRIPTION = ("README.md", "result.json", "cell.txt", "samples.txt", "metrics.jsonl")
_CELL_ALONE = ("README.md", "result.json", "cell.txt")
_KINDS = {
    "model": {".jinja", ".json", ".py", ".safetensors", ".txt"},
    "figures": {".png", ".svg"},
    ".eval_results": {".yaml"},
    "checkpoints": {".json", ".safetensors"},
}
"""By folder of a run, what may leave it."""
_STAYS = {"config.json", "search.json", "report.html", "misclassified.json", "output.log", "logs", *_KINDS}
"""Of a run's own, what never goes: ``config.json`` names the data as it was typed, a report shows texts of it."""
_PICKLES = {".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
_TEXTS = {".jinja", ".json", ".jsonl", ".md", ".py", ".svg", ".txt", ".yaml"}


@dataclass(frozen=True)
class Parcel:
    """What one commit adds."""

    title: str
    files: Files


@dataclass
class Selection:
    """Files of a run that may be pushed, and those found beside them that may not."""

    run: Path
    left_out: list[str] = field(default_factory=list)

    def folder(self, name: str) -> dict[str, Path]:
        """What may go of one folder of the run, by name below it; what may not joins ``left_out``."""
        home = self.run / name
        return {path.relative_to(home).as_posix(): path for path in self._walk(home, _KINDS[name])}

    def model(self) -> dict[str, Path]:
        """What may go of ``model/``; of the code only what belongs to the network."""
        found, code = self.folder("model"), model_code(self.run / "model")
        strangers = [name for name, path in found.items() if path.suffix == ".py" and name not in code]
        for name in strangers:
            self._refuse(found.pop(name), "is no code of the network")
        return found

    def top(self, names: tuple[str, ...]) -> dict[str, Path]:
        """Those of ``names`` that lie in the run folder; strangers beside them join ``left_out``."""
        for path in sorted(self.run.iterdir()):
            if path.name not in {*_DESCRIPTION, *_STAYS}:
                self._refuse(path, "is no file of a run")
        found = {name: self.run / name for name in names if (self.run / name).is_file()}
        return {name: path for name, path in found.items() if not self._is_link(path)}

    def _walk(self, place: Path, kinds: set[str]) -> Iterator[Path]:
        if self._is_link(place) or not place.is_dir():
            return
        # Code last: messages name the first files, and weights tell a reader more.
        for path in sorted(place.iterdir(), key=lambda path: (path.suffix == ".py", path)):
            if self._is_link(path):
                continue
            if path.name.startswith("."):
                self._refuse(path, "is a dot file")
            elif path.is_dir():
                yield from self._walk(path, kinds)
            elif path.is_file() and path.suffix in kinds:
                yield path
            else:
                self._refuse(path, f"is none of {' '.join(sorted(kinds))}")

    def _is_link(self, path: Path) -> bool:
        if path.is_symlink():
            self._refuse(path, "is a link")
        return path.is_symlink()

    def _refuse(self, path: Path, why: str) -> None:
        why = "may be a pickle" if path.suffix in _PICKLES else why
        self.left_out.append(f"{path.relative_to(self.run).as_posix()} {why}")


def parcels(selection: Selection, *, architecture_only: bool, include_checkpoints: bool) -> list[Parcel]:
    """The commits of a push: first what can be loaded, whole; then what describes it; then checkpoints if asked.

    Args:
        selection: of the run; what is left out is noted there.
        architecture_only: no weights, no tokenizer, nothing that was trained.
        include_checkpoints: also ``checkpoints/``.

    Raises:
        UserError: the folder is not that of a finished run.
    """
    if not selection.run.is_dir():
        raise UserError(f"run must be the folder of a finished run, got {str(selection.run)!r}, which is no folder")
    model = selection.model()
    described = selection.top(_CELL_ALONE if architecture_only else _DESCRIPTION)
    _check_finished(selection.run, model, described)
    for name in ("figures", ".eval_results"):
        described |= {f"{name}/{file}": path for file, path in selection.folder(name).items()}
    if architecture_only:
        model = {name: path for name, path in model.items() if name == "config.json" or path.suffix == ".py"}
    found = [
        Parcel("Add the architecture" if architecture_only else "Add the model", dict(model)),
        Parcel("Add the card and what was measured", dict(described)),
    ]
    if include_checkpoints:
        saved = selection.folder("checkpoints")
        found.append(Parcel("Add checkpoints", {f"checkpoints/{name}": path for name, path in saved.items()}))
    return [parcel for parcel in found if parcel.files]


def _check_finished(run: Path, model: Mapping[str, Path], described: Mapping[str, Path]) -> None:
    missing = [name for name in ("result.json", "README.md") if name not in described]
    missing += ["model/config.json"] if "config.json" not in model else []
    missing += ["model/*.safetensors"] if not any(path.suffix == ".safetensors" for path in model.values()) else []
    if missing:
        raise UserError(f"run {str(run)!r} is not the folder of a finished run: it has no {', '.join(missing)}")
    try:
        whole = isinstance(json.loads(described["result.json"].read_text("utf-8")), dict)
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise UserError(f"run {str(run)!r}: result.json is not a JSON object")


def refuse_secrets(parcels: list[Parcel], secrets: Mapping[str, str]) -> None:
    """Let nothing out that names a place of this machine or holds the token.

    Args:
        parcels: what is to be pushed.
        secrets: strings that may not be in any text file, each with what it is.

    Raises:
        UserError: one is there; the message says in which file, not what it says.
    """
    for parcel in parcels:
        for name, source in parcel.files.items():
            if Path(name).suffix not in _TEXTS:
                continue
            text = (source if isinstance(source, bytes) else source.read_bytes()).decode("utf-8", "replace")
            for secret, what in secrets.items():
                if secret in text:
                    raise UserError(f"run: {name} holds {what}, which must not be published; nothing was pushed")
