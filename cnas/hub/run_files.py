"""The files of a run that are uploaded to the Hub: a list of what may go, so that nothing else can."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers.dynamic_module_utils import get_relative_import_files
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME

from cnas.errors import UserError
from cnas.runs.folder import RunFolder, scalars

_CELL = ("README.md", "result.json", "cell.txt")
_DESCRIPTION = (*_CELL, "samples.txt", "metrics.jsonl", "latency.json")
_KINDS = {
    "model": {".jinja", ".json", ".py", ".safetensors", ".txt"},
    "figures": {".png", ".svg"},
    ".eval_results": {".yaml"},
    "checkpoints": {".json", ".safetensors"},
}
"""By folder of a run, the suffixes that may leave it."""
_STAYS = {"config.json", "search.json", "report.html", "misclassified.json", "output.log", "logs", "rankings", *_KINDS}
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


def commits(
    run: Path, *, architecture_only: bool = False, include_checkpoints: bool = False
) -> tuple[list[Commit], list[str]]:
    """The commits of a push: first what can be loaded, whole; then what describes it; then checkpoints if asked.

    Args:
        run: folder of a finished run.
        architecture_only: no weights, no tokenizer, nothing that was trained.
        include_checkpoints: also ``checkpoints/``.

    Returns:
        The commits, and a line for every file that is left out.

    Raises:
        UserError: the folder is not that of a finished run.
    """
    if not run.is_dir():
        raise UserError(f"run must be the folder of a finished run, got {str(run)!r}, which is no folder")
    found, left_out = _selected(run, {"model", "figures", ".eval_results", *["checkpoints"] * include_checkpoints})
    missing = [name for name in ("result.json", "README.md", "model/config.json") if name not in found]
    missing += ["model/*.safetensors"] if not any(name.endswith(".safetensors") for name in found) else []
    if missing:
        raise UserError(f"run {str(run)!r} is not the folder of a finished run: it has no {', '.join(missing)}")
    model = {name.removeprefix("model/"): path for name, path in found.items() if name.startswith("model/")}
    if architecture_only:
        model = {name: path for name, path in model.items() if name == "config.json" or name.endswith(".py")}
    texts = _CELL if architecture_only else _DESCRIPTION
    described = {name: found[name] for name in texts if name in found}
    described |= {name: path for name, path in found.items() if name.startswith(("figures/", ".eval_results/"))}
    saved = {name: path for name, path in found.items() if name.startswith("checkpoints/")}
    every = [
        Commit("Add the architecture" if architecture_only else "Add the model", {**model}),
        Commit("Add the card and what was measured", {**described}),
        Commit("Add checkpoints", {**saved}),
    ]
    return [commit for commit in every if commit.files], left_out


def _selected(run: Path, folders: set[str]) -> tuple[dict[str, Path], list[str]]:
    """By their names below the run folder, the files that may go; a line for each of the others."""
    found: dict[str, Path] = {}
    left_out: list[str] = []
    code = model_code(run / "model")

    def visit(path: Path) -> None:
        name = path.relative_to(run).as_posix()
        if why := _objection(path, name, code):
            left_out.append(f"{name} {'may be a pickle' if path.suffix in _PICKLES else why}")
        elif path.is_dir():
            # Code last: messages name the first files, and weights say more to a reader.
            for inner in sorted(path.iterdir(), key=lambda path: (path.suffix == ".py", path)):
                visit(inner)
        else:
            found[name] = path

    for path in sorted(run.iterdir()):
        if path.name in folders or path.name not in _STAYS:
            visit(path)
    return found, left_out


def _objection(path: Path, name: str, code: set[str]) -> str:
    """Why a file or folder of a run may not go; empty where it may."""
    top, _, inner = name.partition("/")
    suffixes = _KINDS.get(top, set())
    if not suffixes and name not in _DESCRIPTION:
        return "is no file of a run"
    if path.is_symlink():
        return "is a link"
    if inner and path.name.startswith("."):
        return "is a dot file"
    if suffixes and not path.is_dir() and path.suffix not in suffixes:
        return f"is none of {' '.join(sorted(suffixes))}"
    return "is no code of the network" if path.suffix == ".py" and inner not in code else ""


def model_code(folder: Path) -> set[str]:
    """The Python files that `transformers` runs to load a model: those of ``auto_map``, and what they import.

    Args:
        folder: what `save_network` has written; one without ``auto_map`` has no code.

    Raises:
        UserError: a configuration is not JSON, or a file of the code is missing.
    """
    found: set[str] = set()
    for config in (CONFIG_NAME, IMAGE_PROCESSOR_NAME):
        auto_map = (RunFolder(folder).read_json(config) or {}).get("auto_map", {})
        for place in scalars({"auto_map": auto_map}).values():
            file = folder / f"{str(place).partition('.')[0]}.py"
            try:
                found |= {Path(name).name for name in (file, *get_relative_import_files(file))}
            except (OSError, ValueError) as problem:
                raise UserError(f"run: code of the model cannot be read: {str(problem)[:160]}") from problem
    return found


def refuse_secrets(found: list[Commit], run: Path, token: str) -> None:
    """Stop a push whose texts hold the token, or a path of this machine.

    Args:
        found: what is to be pushed.
        run: folder of the run.
        token: of the user.

    Raises:
        UserError: one of them is there; the message says in which file, not what it says.
    """
    # As the user typed them, the configuration names files and folders.
    typed = map(str, scalars(RunFolder(run).read_json("config.json") or {}).values())
    places = {str(run.resolve()), str(run.absolute()), f"{Path.home()}/", *typed}
    private = {place for place in places if Path(place).is_absolute() and len(Path(place).parts) > 1}
    secrets = {token: "the token"} | dict.fromkeys(private, "a path of this machine")
    for name, source in [pair for commit in found for pair in commit.files.items()]:
        if Path(name).suffix not in _TEXTS:
            continue
        text = (source if isinstance(source, bytes) else source.read_bytes()).decode("utf-8", "replace")
        for secret, what in secrets.items():
            if secret in text:
                raise UserError(f"run: {name} holds {what}, which must not be published; nothing was pushed")
