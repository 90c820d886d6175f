"""The files of a run that are uploaded to the Hub: a list of what may go, so that nothing else can."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cnas.errors import UserError
from cnas.hub.remote_code import model_code

_DESCRIPTION = ("README.md", "result.json", "cell.txt", "samples.txt", "metrics.jsonl")
_CELL_ALONE = ("README.md", "result.json", "cell.txt")
_KINDS = {
    "model": {".jinja", ".json", ".py", ".safetensors", ".txt"},
    "figures": {".png", ".svg"},
    ".eval_results": {".yaml"},
    "checkpoints": {".json", ".safetensors"},
}
"""By folder of a run, the suffixes that may leave it."""
_STAYS = {"config.json", "search.json", "report.html", "misclassified.json", "output.log", "logs", *_KINDS}
"""Of a run's own files, what is never uploaded: ``config.json`` names the data as it was typed, a report quotes it."""
_PICKLES = {".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
_TEXTS = {".jinja", ".json", ".jsonl", ".md", ".py", ".svg", ".txt", ".yaml"}


@dataclass(frozen=True)
class Commit:
    """What one commit adds.

    Args:
        title: its message.
        files: by name in the repository, where the bytes are, or the bytes.
    """

    title: str
    files: dict[str, Path | bytes]


@dataclass
class Selection:
    """The files of a run that may be uploaded, and those found beside them that may not."""

    run: Path
    left_out: list[str] = field(default_factory=list)

    def folder(self, name: str) -> dict[str, Path | bytes]:
        """What may be uploaded of one folder of the run, by name below it; the rest is noted in ``left_out``."""
        home = self.run / name
        return {path.relative_to(home).as_posix(): path for path in self._walk(home, _KINDS[name])}

    def model(self) -> dict[str, Path | bytes]:
        """What may be uploaded of ``model/``; of the code only the network's own."""
        found, code = self.folder("model"), model_code(self.run / "model")
        for name in [name for name in found if name.endswith(".py") and name not in code]:
            self._refuse(self.run / "model" / name, "is no code of the network")
            del found[name]
        return found

    def top(self, names: tuple[str, ...]) -> dict[str, Path | bytes]:
        """Those of ``names`` that lie in the run folder; unknown files beside them are noted in ``left_out``."""
        for path in sorted(self.run.iterdir()):
            if path.name not in {*_DESCRIPTION, *_STAYS}:
                self._refuse(path, "is no file of a run")
        found = {name: self.run / name for name in names if (self.run / name).is_file()}
        return {name: path for name, path in found.items() if not self._is_link(path)}

    def _walk(self, place: Path, suffixes: set[str]) -> Iterator[Path]:
        if self._is_link(place) or not place.is_dir():
            return
        # Code last: messages name the first files, and weights say more to a reader.
        for path in sorted(place.iterdir(), key=lambda path: (path.suffix == ".py", path)):
            if self._is_link(path):
                continue
            if path.name.startswith("."):
                self._refuse(path, "is a dot file")
            elif path.is_dir():
                yield from self._walk(path, suffixes)
            elif path.is_file() and path.suffix in suffixes:
                yield path
            else:
                self._refuse(path, f"is none of {' '.join(sorted(suffixes))}")

    def _is_link(self, path: Path) -> bool:
        if path.is_symlink():
            self._refuse(path, "is a link")
        return path.is_symlink()

    def _refuse(self, path: Path, why: str) -> None:
        why = "may be a pickle" if path.suffix in _PICKLES else why
        self.left_out.append(f"{path.relative_to(self.run).as_posix()} {why}")


def commits(selection: Selection, *, architecture_only: bool, include_checkpoints: bool) -> list[Commit]:
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
    _check_finished(selection.run, {f"model/{name}" for name in model} | {*described})
    for folder in ("figures", ".eval_results"):
        described |= {f"{folder}/{name}": path for name, path in selection.folder(folder).items()}
    if architecture_only:
        model = {name: path for name, path in model.items() if name == "config.json" or name.endswith(".py")}
    saved = selection.folder("checkpoints") if include_checkpoints else {}
    found = [
        Commit("Add the architecture" if architecture_only else "Add the model", model),
        Commit("Add the card and what was measured", described),
        Commit("Add checkpoints", {f"checkpoints/{name}": path for name, path in saved.items()}),
    ]
    return [commit for commit in found if commit.files]


def _check_finished(run: Path, found: set[str]) -> None:
    missing = [name for name in ("result.json", "README.md", "model/config.json") if name not in found]
    missing += ["model/*.safetensors"] if not any(name.endswith(".safetensors") for name in found) else []
    if missing:
        raise UserError(f"run {str(run)!r} is not the folder of a finished run: it has no {', '.join(missing)}")
    try:
        whole = isinstance(json.loads((run / "result.json").read_text("utf-8")), dict)
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise UserError(f"run {str(run)!r}: result.json is not a JSON object")


def refuse_secrets(found: list[Commit], run: Path, token: str) -> None:
    """Stop a push whose texts hold the token, or a path of this machine.

    Args:
        found: what is to be pushed.
        run: folder of the run.
        token: of the user.

    Raises:
        UserError: one of them is there; the message says in which file, not what it says.
    """
    places = {str(run.resolve()), str(run.absolute()), f"{Path.home()}/", *_typed(run)}
    private = {place for place in places if Path(place).is_absolute() and len(Path(place).parts) > 1}
    secrets = {token: "the token"} | dict.fromkeys(private, "a path of this machine")
    for name, source in [pair for commit in found for pair in commit.files.items()]:
        if Path(name).suffix not in _TEXTS:
            continue
        text = (source if isinstance(source, bytes) else source.read_bytes()).decode("utf-8", "replace")
        for secret, what in secrets.items():
            if secret in text:
                raise UserError(f"run: {name} holds {what}, which must not be published; nothing was pushed")


def _typed(run: Path) -> list[str]:
    """The files and folders of the user that the configuration names, as they were typed."""
    try:
        config = json.loads((run / "config.json").read_text("utf-8"))
        images = config.get("images") or {}
        found = [config.get("data"), config.get("table"), images.get("split_file")]
    except (OSError, ValueError, RecursionError, AttributeError):
        return []
    return [name for name in found if isinstance(name, str)]
