"""Run folders as searches of images leave them, with made-up numbers."""

import json
from dataclasses import asdict
from pathlib import Path

from cnas.spaces.nats import NatsSpace


def write_run(folder, rows=(), *, seed=1, k=5, algorithm="gdas", benchmark=None, retrain=None, finished=True):
    """Write a folder of the smallest NATS space; ``k`` None is the plain algorithm."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    curriculum = (
        None
        if k is None
        else {"name": "uncertainty", "num_candidates": k, "k": k, "refresh": "epoch", "unit": "sequence"}
    )
    config = {
        "space": {"name": "nats", **asdict(NatsSpace(channels=4, cells=1))},
        "seed": seed,
        "curriculum": curriculum,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps({'phase': 'search', **row})}\n" for row in rows))
    if finished:
        result = {
            "space": "nats",
            "algorithm": algorithm,
            "curriculum": curriculum,
            "seed": seed,
            "dataset": {"name": "digits", "fingerprint": "f" * 16},
            "architecture": {"space": "nats", "string": FOUND},
            "search": {"epochs": len(rows)},
            "benchmark": benchmark,
            "retrain": retrain,
        }
        (folder / "result.json").write_text(json.dumps(result))
    return folder


FOUND = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


def png_size(path):
    data = Path(path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return tuple(int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
