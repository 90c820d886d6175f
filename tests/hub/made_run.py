"""A run folder with everything a run leaves, and things beside it that must not go anywhere; nothing is trained."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from tiny_recipe import tiny

from cnas.hub.artifacts import export_run
from cnas.runs.result import RunResult
from cnas.spaces import EnasRnnSpace
from cnas.types import Paper

WORDS = ("<unk>", "<eos>", "N", "the", "mr.", *(f"w{index}" for index in range(15)))
PAPER = Paper("A search", "Ada Lovelace", 1843, "https://example.org")
PLACE, TABLE = "/srv/somewhere/corpus", "/srv/tables/tss.parquet"
"""Data and table as they were typed; they are in ``config.json`` and nowhere else."""


def result(space, architecture) -> RunResult:
    values = {
        "recipe": "tiny",
        "space": space.name,
        "algorithm": "enas",
        "curriculum": {"name": "uncertainty", "num_candidates": 3, "k": 3, "refresh": "epoch", "unit": "sequence"},
        "seed": 1,
        "dataset": {"name": "corpus", "fingerprint": "00", "splits": {}},
        "architecture": architecture.to_json(),
        "search": {"epochs": 1, "steps": 2, "seconds": 0.5, "valid": {}},
        "retrain": {"epochs": 1, "parameters": 100, "valid_perplexity": 20.0, "test_perplexity": 21.0},
        "environment": {"python": "3.11"},
    }
    return RunResult.from_json(values)


def make_run(folder: Path) -> Path:
    space = EnasRnnSpace(vocab_size=len(WORDS), hidden_size=8, nodes=2, init_range=0.5)
    architecture = space.parse("0 0 1 1")
    torch.manual_seed(0)
    network = space.build_network(architecture).eval()
    row = {"phase": "search", "epoch": 1, "step": 2, "train_loss": 2.0, "valid_loss": 3.0}
    write(folder / "metrics.jsonl", f"{json.dumps(row)}\n")
    found = result(space, architecture)
    export_run(folder, found, network, WORDS, space=space, paper=PAPER)
    write(folder / "result.json", json.dumps(found.to_json()))
    config = tiny()
    config = replace(config, data=PLACE, table=TABLE)
    write(folder / "config.json", json.dumps(config.to_json()))
    for name in ("state.safetensors", "trainer.json", "manifest.json"):
        write(folder / "checkpoints/search/step-2" / name, "{}")
    write(folder / ".eval_results/run.yaml", "- value: 21.0\n")
    write(folder / "report.html", "<p>")
    write(folder / "logs/events.out", "log")
    write(folder / "misclassified.json", "{}")
    write(folder / "output.log", "of a sweep")
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path
