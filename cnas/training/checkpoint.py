"""Checkpoints that survive a kill at any moment, and that are never half read.

``ROOT/step-N/`` holds ``state.safetensors`` (all tensors), ``trainer.json`` (everything else, with references to them)
and ``manifest.json`` (size and sha256 of both, a checksum of itself, configuration hash, versions). A save is staged in
a hidden sibling, every file is synced, the manifest comes last, and one rename makes it count; only then do older ones
go. Nothing is executed on loading, and a file is used only after its checksum has been verified on the very same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from cnas.durable import clear_leftovers, make_folder, remove_folder, write_folder
from cnas.errors import CheckpointError, StorageError, UserError
from cnas.training.packing import pack, separate, unpack

FORMAT = 1
STATE, TRAINER, MANIFEST = "state.safetensors", "trainer.json", "manifest.json"
# `.old` is a whole checkpoint that a newer save of the same step is about to replace.
_NAME = re.compile(r"step-(0|[1-9][0-9]*)(\.old)?")


@dataclass(frozen=True)
class Loaded:
    """What `load_newest` found.

    Args:
        step: the step it was saved at.
        state: equal to what was saved; tensors are in host memory.
        path: the folder it was read from.
        broken: newer checkpoints that are not whole, each with the reason; worth a warning.
        info: thread count, library versions and what the caller of `save` added.
    """

    step: int
    state: dict[str, Any]
    path: Path
    broken: tuple[str, ...]
    info: dict[str, Any]


class _NotWholeError(Exception):
    """Why one checkpoint is not whole."""


def save(
    root: Path,
    step: int,
    state: Mapping[str, Any],
    *,
    config_hash: str,
    keep: int = 2,
    pinned: Collection[int] = (),
    info: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``root/step-N``; whatever happens meanwhile, a whole checkpoint that was there before still is.

    Args:
        root: the folder of all checkpoints of this phase; created where missing. One process at a time may save here.
        step: the number in the name; a checkpoint of the same step is replaced.
        state: nested dicts (str or int keys), lists, tuples, None, bool, int, float (NaN and infinities included), str
            and dense tensors of any device and dtype that safetensors knows. Views are stored as tensors of their own.
        config_hash: of the configuration that a resumed run must have, see `cnas.runs.config.RunConfig.hash`.
        keep: how many checkpoints up to this step stay, the new one included.
        pinned: steps whose checkpoints stay as well.
        info: small JSON-able extras for the manifest.

    Returns:
        The folder of the new checkpoint.

    Raises:
        StorageError: the disk is full or refuses; nothing that was there before has changed.
        TypeError: ``state`` holds something else; the message says where.
    """
    if keep < 1:
        raise UserError(f"keep must be at least 1, got {keep}")
    target, files = root / f"step-{step}", _contents(step, state, config_hash, info or {})
    need = sum(map(len, files.values()))
    try:
        make_folder(root)
        clear_leftovers(root)
        if shutil.disk_usage(root).free < need:
            raise _refused(target, need, "the disk is too full")
        write_folder(target, files)
    except OSError as error:
        raise _refused(target, need, error.strerror or str(error)) from error
    with contextlib.suppress(OSError):  # the new one counts already; the next save tries again
        _purge(root, step, keep, pinned)
    return target


def load(root: Path, step: int, *, config_hash: str | None = None) -> dict[str, Any]:
    """The state that was saved under ``step``, of the configuration with this hash; None accepts any.

    Raises:
        CheckpointError: it is not whole, or not there.
        UserError: it belongs to another configuration or to another version of the format.
    """
    path = root / f"step-{step}"
    try:
        return _read(path, step, config_hash)[1]
    except _NotWholeError as reason:
        raise CheckpointError(f"{path} is no whole checkpoint: {reason}") from reason


def load_newest(root: Path, *, config_hash: str | None = None) -> Loaded | None:
    """The newest whole checkpoint below ``root``; None where none was ever saved.

    Args:
        root: the folder given to `save`.
        config_hash: what the checkpoint must have been saved with; None accepts any.

    Raises:
        CheckpointError: there are checkpoints, and none of them is whole.
        UserError: the newest whole one belongs to another configuration or to another version of the format.
    """
    broken: list[str] = []
    for path, step in _found(root):
        try:
            body, state = _read(path, step, config_hash)
        except _NotWholeError as reason:
            broken.append(f"{path}: {reason}")
        else:
            return Loaded(step, state, path, tuple(broken), body["info"])
    if broken:
        raise CheckpointError("no whole checkpoint is left; " + "; ".join(broken))
    return None


def newest_stamp(root: Path) -> str | None:
    """The configuration hash of the newest checkpoint whose manifest is whole; None where there is none.

    Args:
        root: the folder given to `save`.
    """
    for path, _ in _found(root):
        with contextlib.suppress(_NotWholeError, LookupError, TypeError):
            return str(_unsealed(_bytes(path / MANIFEST))["config_hash"])
    return None


def _contents(step: int, state: Mapping[str, Any], config_hash: str, info: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a checkpoint by name, the manifest last."""
    tensors: dict[str, Tensor] = {}
    tree = pack(dict(state), "state", tensors)
    files = {STATE: to_safetensors(separate(tensors)), TRAINER: json.dumps(tree, allow_nan=False).encode()}
    versions = {"cnas": version("cnas"), "torch": torch.__version__, "python": platform.python_version()}
    body = {
        "format": FORMAT,
        "step": step,
        "config_hash": config_hash,
        "files": {name: {"size": len(data), "sha256": _sha256(data)} for name, data in files.items()},
        "info": {"threads": torch.get_num_threads(), "versions": versions, **info},
    }
    return {**files, MANIFEST: _sealed(body)}


def _found(root: Path) -> list[tuple[Path, int]]:
    """All checkpoint folders and their steps, newest first; other files and folders are none of ours."""
    names = [(path, _NAME.fullmatch(path.name)) for path in (root.iterdir() if root.is_dir() else ())]
    matches = [(path, match) for path, match in names if match and path.is_dir()]
    matches.sort(key=lambda pair: (int(pair[1][1]), pair[1][2] is None), reverse=True)
    return [(path, int(match[1])) for path, match in matches]


def _read(path: Path, step: int, config_hash: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest and the state of one checkpoint, verified."""
    try:
        return _verified_contents(path, step, config_hash)
    except UserError:
        raise
    # Checksums keep accidents away; these come of a manifest that somebody has sealed himself.
    except (AttributeError, LookupError, RecursionError, SafetensorError, TypeError, ValueError) as problem:
        raise _NotWholeError(f"it is not what a run writes ({type(problem).__name__})") from problem


def _verified_contents(path: Path, step: int, config_hash: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    body = _unsealed(_bytes(path / MANIFEST))
    if body["format"] != FORMAT:
        raise UserError(f"{path} has checkpoint format {str(body['format'])[:40]}, this version of cnas reads {FORMAT}")
    if body["step"] != step:
        raise _NotWholeError(f"{MANIFEST} is that of step {str(body['step'])[:40]}")
    data = {name: _verified(path / name, **body["files"][name]) for name in (STATE, TRAINER)}
    if config_hash not in (None, body["config_hash"]):
        raise UserError(
            f"the run in {path.parent} was started with another configuration: hash {body['config_hash']}, "
            f"now {config_hash}; resume with the configuration and the data it was started with"
        )
    # A copy, because the bytes need not be aligned as torch would align them, and alignment may change last bits.
    tensors = {name: tensor.clone() for name, tensor in from_safetensors(data[STATE]).items()}
    state = unpack(json.loads(data[TRAINER]), tensors)
    if not isinstance(state, dict) or not isinstance(body["info"], dict):
        raise _NotWholeError("it holds no state")
    return body, state


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _NotWholeError(f"{path.name} is missing") from None
    except OSError as error:
        raise _NotWholeError(f"{path.name} cannot be read: {error.strerror}") from error


def _verified(path: Path, size: int, sha256: str) -> bytes:
    """The content of a file, if it is what was written."""
    data = _bytes(path)
    if len(data) != size:
        raise _NotWholeError(f"{path.name} has {len(data)} bytes instead of {size}")
    if _sha256(data) != sha256:
        raise _NotWholeError(f"{path.name} differs from what was written (sha256)")
    return data


def _sealed(body: Mapping[str, Any]) -> bytes:
    """A manifest as text, with a checksum of itself."""
    plain = json.loads(json.dumps(body, allow_nan=False))
    seal = _sha256(json.dumps(plain, sort_keys=True).encode())
    return json.dumps({**plain, "seal": seal}, sort_keys=True, indent=1).encode()


def _unsealed(data: bytes) -> dict[str, Any]:
    """What `_sealed` was given. Sealing again must give the same bytes, so no flipped bit gets by."""
    try:
        body = json.loads(data)
        body.pop("seal")
        if _sealed(body) == data:
            return body
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise _NotWholeError(f"{MANIFEST} is damaged")


def _refused(target: Path, need: int, reason: str) -> StorageError:
    try:
        free = f"{shutil.disk_usage(target.parent).free / 1e6:.3g} MB are free"
    except OSError:
        free = "what is free is unknown"
    return StorageError(
        f"checkpoint {target} was not saved: {reason}; it needs {need / 1e6:.3g} MB, {free}; earlier ones are untouched"
    )


def _purge(root: Path, step: int, keep: int, pinned: Collection[int]) -> None:
    """Remove checkpoints that are not kept after a save of ``step``; later steps stay, only their owner knows them."""
    kept: set[int] = set()
    for path, found in _found(root):
        if found in kept or (len(kept) >= keep and found not in pinned):
            remove_folder(path)
        elif found <= step:
            kept.add(found)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
