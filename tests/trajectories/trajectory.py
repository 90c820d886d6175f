"""What one run did, as numbers: losses of all epochs, v, weights and architectures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

MACHINE = ("_seconds", "_per_second", "_memory")
"""Endings of the keys that depend on the machine."""


def trajectory(folder: Path) -> dict[str, Any]:
    """The rows, the architecture, the figures in the end, and digests of all tensors that the search has saved."""
    result = json.loads((folder / "result.json").read_text("utf-8"))
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    rows = [{key: value for key, value in json.loads(line).items() if not key.endswith(MACHINE)} for line in lines]
    newest = max((folder / "checkpoints" / "search").iterdir(), key=lambda path: int(path.name.partition("-")[2]))
    tensors = load_file(newest / "state.safetensors")
    figures = {key: value for key, value in result["retrain"].items() if key.startswith(("valid_", "test_"))}
    # Whatever they are called and wherever they lie: v, weights, policy, optimisers, hidden state.
    digests = {_digest(tensor): tuple(tensor.shape) for tensor in tensors.values() if tensor.numel() > 1}
    return {"architecture": result["architecture"]["string"], "figures": figures, "rows": rows, "tensors": digests}


def first_difference(base: Any, head: Any, relative: float = 0.0, path: str = "") -> str | None:
    """Where two trajectories differ first, numbers by more than ``relative``; None where they do not."""
    match base, head:
        case dict(), dict():
            # A later version may say and save more; what the earlier one does must be there and agree.
            pairs = [(key, base[key], head.get(key)) for key in base]
        case list(), list() if len(base) == len(head):
            pairs = [(str(index), *pair) for index, pair in enumerate(zip(base, head, strict=True))]
        case (int() | float(), int() | float()) if abs(base - head) <= relative * max(abs(base), abs(head)):
            return None
        case _:
            return None if base == head else f"{path}: {str(base)[:60]} became {str(head)[:60]}"
    found = (first_difference(one, other, relative, f"{path}/{key}") for key, one, other in pairs)
    return next((difference for difference in found if difference), None)


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:16]
