"""Whole runs of a second or two, for any space, algorithm and refresh of the curriculum; and what they leave.

Legend of sizes: text as in `tiny_recipe`; 64 images for the search, 16 in a batch, one cell a stage.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import tiny_recipe
from builders import algorithm_config, build_space, fits
from outcome import saved, timeless

from cnas import algorithms, spaces
from cnas.curricula import Uncertainty
from cnas.runs.config import RunConfig
from cnas.training.metrics_log import read, stable

EVERY = [
    case for case in itertools.product(spaces.names(), algorithms.names(), ("epoch", "step")) if fits(case[1], case[0])
]
"""(space, algorithm, refresh): new ones are found by name."""


def small(space: str, algorithm: str, refresh: str) -> RunConfig:
    """The configuration of one case: search, training of what was found, checkpoints amid the epochs of both."""
    built = build_space(space)
    config = _images(algorithm) if hasattr(built, "classes") else _text(tiny_recipe.tiny(), built)
    unit = "sample" if config.images else "token"
    return replace(
        config,
        # A front without a limit ends the search, and somebody must choose.
        search=algorithm_config(algorithm, **({"limit": "parameters<=1e6"} if algorithm == "pareto" else {})),
        curriculum=Uncertainty(num_candidates=3, refresh=refresh, unit=unit),
        trainer=replace(config.trainer, num_train_epochs=2, save_steps=3),
        retrain=replace(config.retrain, num_train_epochs=1, save_steps=3, average_from=None),
    )


def _text(tiny: RunConfig, space: Any) -> RunConfig:
    sizes = {name: getattr(tiny.space, name) for name in ("hidden_size", "init_range") if hasattr(space, name)}
    network = tiny.network if isinstance(tiny.network, space.network_sizes) else space.network_sizes()
    trainer = replace(tiny.trainer, learning_rate=1.0)
    return replace(tiny, space=replace(space, **sizes), network=network, trainer=trainer)


def _images(algorithm: str) -> RunConfig:
    smoke = RunConfig.from_preset("nats_cl/smoke", algorithm)
    counts = {"search_images": 64, "valid_images": 32, "train_images": 64, "test_images": 32}
    return replace(
        smoke,
        images=replace(smoke.images, **counts),
        trainer=replace(smoke.trainer, global_batch_size=16, eval_batch_size=32),
        retrain=replace(smoke.retrain, global_batch_size=16),
        network=replace(smoke.network, channels=4),
    )


def flags(home: Path, case: tuple[str, str, str], folder: str) -> list[str]:
    """The command line of a case in a folder of ``home``, which may hold some of it already."""
    file = home / f"{'-'.join(case)}.json"
    if not file.exists():
        file.write_text(json.dumps(small(*case).to_json()), "utf-8")
    return ["--config", file.name, "--output-dir", folder, "--resume"]


def left(run: Path) -> dict[str, Any]:
    """Everything a finished run of any space leaves that does not depend on how long it took."""
    return {
        "result": timeless(json.loads((run / "result.json").read_text("utf-8"))),
        "found": timeless(json.loads((run / "search.json").read_text("utf-8"))),
        "rows": [stable(row) for row in read(run / "metrics.jsonl")],
        "search": saved(run / "checkpoints" / "search"),
        "retrain": saved(run / "checkpoints" / "retrain"),
        "model": (run / "model" / "model.safetensors").read_bytes(),
        "cell": (run / "cell.txt").read_bytes(),
    }
