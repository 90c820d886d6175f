"""What ``config.json`` of 0.1.0 says, by the names of today: such a run is still compared and reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnas.training.arguments import SearchArguments

LAST = 2
"""The last version of the layout with the old names."""
_LOOP = {**SearchArguments.renamed, "schedule": "lr_scheduler_type"}
_RUN = ("seed", "mixed_precision", "log_with")
"""Were beside the sections; the section ``trainer`` has them now."""


def by_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of a ``config.json``, of whatever version; what is of the wrong type stays as it is.

    Args:
        values: as they were read.

    Example:
        >>> by_new_names({"version": 2, "seed": 3, "trainer": {"epochs": 9}, "curriculum": {"k": 5}})
        {'version': 2, 'trainer': {'num_train_epochs': 9, 'seed': 3}, 'curriculum': {'num_candidates': 5}}
    """
    if values.get("version") not in range(LAST + 1):
        return dict(values)
    found = {name: value for name, value in values.items() if name not in _RUN}
    for name in ("trainer", "retrain"):
        if isinstance(values.get(name), dict):
            found[name] = _loop(values[name])
    moved = {name: values[name] for name in _RUN if name in values}
    if moved and isinstance(found.setdefault("trainer", {}), dict):
        found["trainer"] |= _run(moved)
    if isinstance(values.get("curriculum"), dict):
        found["curriculum"] = {
            ("num_candidates" if name == "k" else name): v for name, v in values["curriculum"].items()
        }
    return found


def _loop(values: Mapping[str, Any]) -> dict[str, Any]:
    found = {_LOOP.get(name, name): value for name, value in values.items()}
    if found.get("lr_scheduler_type") == "cosine":
        found["lr_scheduler_type"] = "cosine_by_epoch"
    parts, rows = found.pop("accumulation_steps", None), found.get("global_batch_size")
    if isinstance(parts, int) and isinstance(rows, int) and parts > 0:
        found["micro_batch_size"] = None if parts == 1 else -(-rows // parts)
    return found


def _run(values: Mapping[str, Any]) -> dict[str, Any]:
    """What belongs to the run as a whole."""
    found = {name: value for name, value in values.items() if name == "seed"}
    if "mixed_precision" in values:
        found |= {name: values["mixed_precision"] == name for name in ("bf16", "fp16")} | {"tf32": False}
    if "log_with" in values:
        found["report_to"] = [values["log_with"]] if values["log_with"] else []
    return found
