"""Run folders whose numbers are made up: as a run would leave them, without the run.

Legend: E edges, O operations.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tiny_recipe import tiny

from cnas.data.text import load_text
from cnas.runs.config import RunConfig
from cnas.runs.text import TextTask
from cnas.training import checkpoint

CELLS = ("0 0 1 1", "0 1 1 3", "0 1 0 3")
SECONDS = 75.0


def config(home: Path, *, curriculum: bool = True, seed: int = 1, unit: str = "sequence") -> RunConfig:
    """The tiny configuration, on the corpus of ``home``."""
    found = tiny()
    judged = replace(found.curriculum, unit=unit) if curriculum else None
    return replace(found.with_seed(seed), data=str(home / "corpus"), curriculum=judged)


def search_rows(epochs: int, space: Any, *, curriculum: bool, offset: float = 0.0) -> list[dict[str, Any]]:
    """Rows of a search whose policy grows more and more decided."""
    return [
        {
            "phase": "search",
            "epoch": epoch,
            "step": 10 * epoch,
            "train_loss": 4 - epoch / epochs + offset,
            "valid_loss": 4.1 - epoch / epochs + offset,
            "valid_perplexity": math.exp(4.1 - epoch / epochs + offset),
            "probe_architecture": CELLS[epoch % len(CELLS)],
            "policy_entropy": 5 - epoch / epochs,
            "alphas": table(space, epoch / epochs),
            "total_seconds": SECONDS * epoch / epochs,
            **(_weights(epoch) if curriculum else {}),
        }
        for epoch in range(1, epochs + 1)
    ]


def _weights(epoch: int) -> dict[str, float]:
    share = 0.0 if epoch == 1 else 0.2
    return {
        "weight_min": 1 - share,
        "weight_median": 1.0,
        "weight_max": 1 + 2 * share,
        "effective_sample_size": 1 - share / 20,
    }


def table(space: Any, decided: float) -> list[list[float]]:
    """Weights [E][O]: every edge prefers one operation, the more so the more is ``decided``."""
    edges, operations = space.shape
    rows = []
    for edge in range(edges):
        scores = [math.exp(3 * decided * (operation == edge % operations)) for operation in range(operations)]
        rows.append([score / sum(scores) for score in scores])
    return rows


def retrain_rows(epochs: int) -> list[dict[str, Any]]:
    """Rows of a training."""
    return [
        {
            "phase": "retrain",
            "epoch": epoch,
            "step": 10 * epoch,
            "train_loss": 4 - epoch / epochs,
            "valid_loss": 4.1 - epoch / epochs,
            "valid_perplexity": math.exp(4.1 - epoch / epochs),
            "total_seconds": SECONDS * epoch / epochs,
        }
        for epoch in range(1, epochs + 1)
    ]


def result(config: RunConfig, fingerprint: str, cell: str, test_perplexity: float) -> dict[str, Any]:
    """What ``result.json`` of a finished run holds."""
    judged = config.to_json()["curriculum"]
    judged = judged and judged | {"k": judged["num_candidates"]}
    return {
        "recipe": config.recipe,
        "space": config.space.name,
        "algorithm": config.algorithm,
        "curriculum": judged,
        "seed": config.seed,
        "dataset": {"name": "corpus", "fingerprint": fingerprint, "splits": {}, "used": {}},
        "architecture": {"space": config.space.name, "string": cell},
        "search": {"epochs": 4, "steps": 40, "seconds": SECONDS, "valid": {}},
        "retrain": {
            "epochs": 3,
            "steps": 30,
            "seconds": 9.5,
            "parameters": 12345,
            "valid_perplexity": test_perplexity + 1,
            "test_perplexity": test_perplexity,
        },
        "environment": {"python": "3.11", "torch": "2.13", "device": "cpu", "threads": 1},
    }


def write_run(
    folder: Path, found: RunConfig, *, epochs: int = 4, cell: str = "0 1 1 3", test_perplexity: float = 50.0
) -> Path:
    """A finished run with a checkpoint of its search; weights grow with the number of the unit."""
    text = load_text(found.data, found.text)
    rows = [*search_rows(epochs, found.space, curriculum=found.curriculum is not None), *retrain_rows(3)]
    folder.mkdir(parents=True)
    write(folder / "config.json", found.to_json())
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    write(folder / "search.json", {"string": cell, "search": {}, "fingerprint": text.fingerprint})
    write(folder / "result.json", result(found, text.fingerprint, cell, test_perplexity))
    state: dict[str, Any] = {"position": {"epoch": epochs}, "curriculum": None}
    if found.curriculum is not None:
        units = TextTask(found, text).search_data().train.num_units
        state["curriculum"] = {"v": torch.linspace(0.5, 1.5, units)}
    stamp = f"{found.hash}-{text.fingerprint}"
    checkpoint.save(folder / "checkpoints" / "search", 10 * epochs, state, config_hash=stamp)
    return folder


def write(path: Path, values: Any) -> None:
    """One JSON file."""
    path.write_text(json.dumps(values), "utf-8")


def change(path: Path, **values: Any) -> None:
    """Overwrite some keys of a JSON file."""
    write(path, {**json.loads(path.read_text("utf-8")), **values})
