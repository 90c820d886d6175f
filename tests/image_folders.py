"""Folders of finished image runs that nobody has run: a preset's configuration, and figures that are made up."""

import json

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
SIZES = {"search": 256, "train": 512, "validation": 128, "test": 256}


def benchmark_metrics(accuracy, **more):
    """The ``benchmark`` part of a result: a rank and a regret that go with an accuracy on CIFAR-10."""
    return {
        "dataset": "cifar10",
        "test_accuracy": accuracy,
        "rank": round(100 * (95 - accuracy)),
        "regret": 95 - accuracy,
        "index": 1,
        "source": "tss.parquet",
        **more,
    }


def trained(valid, test, **more):
    """The ``retrain`` part of a result."""
    return {"seconds": 90.0, "parameters": 1000, "valid_accuracy": valid, "test_accuracy": test, **more}


def image_result(config, **changes):
    """What ``result.json`` of a finished run holds; a given architecture was not searched."""
    searched, curriculum = config.architecture is None, config.to_json()["curriculum"]
    if curriculum is not None:
        curriculum["k"] = curriculum["num_candidates"]
    return {
        "recipe": config.recipe,
        "preset": config.preset,
        "space": config.space.name,
        "algorithm": config.algorithm if searched else None,
        "curriculum": curriculum if searched else None,
        "seed": config.seed,
        "dataset": {"name": "digits", "fingerprint": "f" * 16, "splits": {}, "used": SIZES},
        "architecture": {"space": config.space.name, "string": config.architecture or CELL},
        "search": {"epochs": 4, "steps": 32, "seconds": 61.0, "valid": {"valid_accuracy": 20.0}} if searched else None,
        "retrain": None,
        "environment": {"threads": 1},
        **changes,
    }


def write_image_run(folder, config, **changes):
    """Make ``folder`` that of a finished run; returns it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config.to_json()), "utf-8")
    (folder / "result.json").write_text(json.dumps(image_result(config, **changes)), "utf-8")
    return folder
