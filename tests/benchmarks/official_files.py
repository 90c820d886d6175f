"""A folder laid out as NATS-Bench's, with few architectures and made-up accuracies."""

import bz2
import pickle
from collections import OrderedDict

import numpy as np

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
SPLITS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}
SEEDS = {"200": (777, 888, 999), "12": (777,)}


def cells(count):
    """Different cells, not in the order in which they would be enumerated."""
    picks = [[(7 * number // 5**edge) % 5 for edge in range(6)] for number in range(count)]
    a = [[OPERATIONS[pick] for pick in row] for row in picks]
    return [f"|{r[0]}~0|+|{r[1]}~0|{r[2]}~1|+|{r[3]}~0|{r[4]}~1|{r[5]}~2|" for r in a]


def value(index, hp, dataset, split, seed):
    """The accuracy after the last epoch, in percent; different for each of its arguments."""
    parts = (index, list(SEEDS).index(hp), list(SPLITS).index(dataset), SPLITS[dataset].index(split), seed)
    return float(sum(part * weight for part, weight in zip(parts, (2.0, 13.0, 3.5, 1.25, 0.01), strict=True)))


def trial(index, text, hp, dataset, seed):
    """What one training has left; earlier epochs are all 1 %, so that the last is not to be mistaken."""
    epochs = int(hp)
    keys = [(split, epoch) for split in SPLITS[dataset] for epoch in range(epochs)]
    accuracies = {
        f"{split}@{epoch}": np.float64(value(index, hp, dataset, split, seed)) if epoch == epochs - 1 else 1.0
        for split, epoch in keys
    }
    return {
        "name": dataset,
        "net_state_dict": None,
        "train_acc1es": OrderedDict.fromkeys(range(epochs), 99.0),
        "train_acc5es": None,
        "train_losses": OrderedDict.fromkeys(range(epochs), 0.1),
        "train_times": OrderedDict.fromkeys(range(epochs), 7.0),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": text, "class_num": 10},
        "params": 0.1,
        "flop": 15.6,
        "seed": seed,
        "epochs": epochs,
        "latency": [0.01, 0.02],
        "eval_names": list(SPLITS[dataset]),
        "eval_acc1es": accuracies,
        "eval_losses": dict.fromkeys(accuracies, 0.5),
        "eval_times": dict.fromkeys(accuracies, 1.0),
    }


def architecture_file(index, text):
    held = OrderedDict()
    for hp in ("12", "200"):
        # Of every third architecture a seed is missing, as in the benchmark.
        seeds = SEEDS[hp][: 2 if hp == "200" and index % 3 == 2 else None]
        held[hp] = {
            "arch_index": index,
            "arch_str": text,
            "all_results": OrderedDict(
                ((dataset, seed), trial(index, text, hp, dataset, seed)) for dataset in SPLITS for seed in seeds
            ),
            "dataset_seed": {dataset: list(seeds) for dataset in SPLITS},
            "clear_net_done": True,
        }
    return held


def save(path, held):
    path.write_bytes(bz2.compress(pickle.dumps(held, protocol=4)))


def write_folder(folder, count):
    """Write the files of ``count`` architectures; returns their strings."""
    folder.mkdir(parents=True)
    texts = cells(count)
    meta = {"meta_archs": texts, "total_archs": count, "arch2infos": None, "evaluated_indexes": set()}
    save(folder / "meta.pickle.pbz2", meta)
    for index, text in enumerate(texts):
        save(folder / f"{index:06d}.pickle.pbz2", architecture_file(index, text))
    return texts
