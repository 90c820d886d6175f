"""What two equal runs must have in common, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from cnas.training import checkpoint
from cnas.training.metrics_log import read, stable

MACHINE = ("seconds", "peak_memory_gb")
"""How keys end that say something of the machine."""


def outcome(run: Path) -> dict[str, Any]:
    """Everything a run leaves that does not depend on how long it took."""
    return {
        "result": timeless(json.loads((run / "result.json").read_text("utf-8"))),
        "rows": [stable(row) for row in read(run / "metrics.jsonl")],
        "search": saved(run / "checkpoints" / "search"),
        "retrain": saved(run / "checkpoints" / "retrain"),
        "files": {name: (run / name).read_bytes() for name in ("model/model.safetensors", "cell.txt", "samples.txt")},
    }


def saved(checkpoints: Path) -> Any:
    """The newest checkpoint's contents, comparable with ``==``."""
    loaded = checkpoint.load_newest(checkpoints)
    return None if loaded is None else timeless({"step": loaded.step, "state": loaded.state})


def timeless(value: Any) -> Any:
    """``value`` without the keys that name seconds or memory, tensors as (dtype, shape, bytes)."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if not str(key).endswith(MACHINE)}
    if isinstance(value, (list, tuple)):
        return [timeless(item) for item in value]
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    return value
