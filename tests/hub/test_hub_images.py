"""CIFAR and other image data sets as the Hub serves them, through `datasets` and a Hub on loopback."""

import io
import json
import os
import subprocess
import sys

import datasets
from PIL import Image
from stub import TOKEN

LOAD = """
import json, sys
from cnas.data import ImageConfig, load_images
from cnas.errors import UserError
found = []
for name in sys.argv[1:]:
    try:
        data = load_images(name, ImageConfig())
    except UserError as error:
        found.append(str(error))
    else:
        shape, labels = data.test.shape, data.test.labels.tolist()
        pixels = data.test.images[:, :, 0, 0].tolist()
        more = data.statistics.mean, data.augment.flip, data.splits
        found.append([data.name, data.classes, shape, labels, pixels, *more])
print(json.dumps(found))
"""
SHADES = {"train": [10, 20, 30, 40, 50, 60], "test": [70, 80]}


def parquet(shades, columns, names):
    """Squares of one shade each, with labels that go round."""
    rows = []
    for shade in shades:
        file = io.BytesIO()
        Image.new("RGB", (32, 32), (shade, shade + 1, shade + 2)).save(file, "PNG")
        rows.append({"bytes": file.getvalue(), "path": f"{shade}.png"})
    labels = [index % len(names) for index in range(len(shades))]
    content = {columns[0]: rows, **dict.fromkeys(columns[1:], labels)}
    kinds = {column: datasets.ClassLabel(names=names) for column in columns[1:]}
    features = datasets.Features({columns[0]: datasets.Image(), **kinds})
    file = io.BytesIO()
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(content, features=features).to_parquet(file)
    return file.getvalue()


def serve(hub, name, columns, names, splits=("train", "test")):
    files = {
        f"data/{split}-00000-of-00001.parquet": parquet(SHADES["test" if split == "test" else "train"], columns, names)
        for split in splits
    }
    hub.store.add("datasets", name).commit("main", files, "images")


def test_images_of_the_hub_are_read_by_their_names(hub, tmp_path):
    serve(hub, "uoft-cs/cifar10", ("img", "label"), ["airplane", "automobile"])
    serve(hub, "uoft-cs/cifar100", ("img", "fine_label", "coarse_label"), ["apple", "bear", "cup"])
    serve(hub, "some/images", ("image", "label"), ["a", "b"], ("train", "validation", "test"))
    serve(hub, "some/texts", ("text", "label"), ["a", "b"])
    serve(hub, "some/part", ("image", "label"), ["a", "b"], ("train",))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    env |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    asked = ["cifar10", "uoft-cs/cifar10", "cifar100", "some/images", "some/texts", "some/part", "some/nothing"]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *asked], env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    cifar10, same, cifar100, images, texts, part, nothing = json.loads(done.stdout)

    pixels = [[70, 71, 72], [80, 81, 82]]
    name, classes, shape, labels, found, mean, flip, splits = cifar10
    assert (name, classes, shape, labels) == ("cifar10", ["airplane", "automobile"], [3, 32, 32], [0, 1])
    assert (found, flip) == (pixels, True)
    assert mean == [125.3 / 255, 123.0 / 255, 113.9 / 255]
    assert splits["validation"] == {"images": 3, "from": "the other half of train, split_seed 1"}
    assert same == ["uoft-cs/cifar10", *cifar10[1:]]

    assert cifar100[:4] == ["cifar100", ["apple", "bear", "cup"], [3, 32, 32], [0, 1]]
    assert cifar100[5] == [129.3 / 255, 124.1 / 255, 112.4 / 255]

    assert images[4] == pixels
    assert [round(255 * value, 9) for value in images[5]] == [35, 36, 37]  # of the training images, none are published
    assert images[7]["validation"] == {"images": 6, "from": "validation"}

    assert "data some/texts: train has no image column" in texts
    assert "data some/part has no test split: looked for ('test',), found ['train']" in part
    assert "neither an existing folder nor within reach on the Hub" in nothing
    assert "folder of Parquet files or images (train, test) as --data" in nothing
