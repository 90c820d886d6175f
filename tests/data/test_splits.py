"""What the splits of a data set may be called is the same everywhere: folders, tables, texts and the Hub."""

from itertools import pairwise

import datasets
import pytest
import torch
from made_images import made, records, table, write_classes, write_parquet

from cnas.data import ImageConfig, TextConfig, load_images, load_text
from cnas.errors import UserError

ALIASES = ["validation", "valid", "val", "dev"]
PAIRS = list(pairwise(ALIASES))
NAMES = ["cat", "dog"]
SPLITS = {"train": made(8, (1, 4, 4), 2), "test": made(4, (1, 4, 4), 2, seed=2)}
OWN = made(6, (1, 4, 4), 2, seed=3)


def write_text(folder, *names):
    folder.mkdir()
    for name in ("train.txt", "test.txt", *names):
        (folder / name).write_text(f"the cat {name}\n" * 3, "utf-8")
    return folder


def hub_of(monkeypatch, tables):
    """The Hub has these tables, whatever it is asked for."""
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: tables)


def tables_of(**splits):
    return {name: table(records(images), images.labels.tolist(), names=NAMES) for name, images in splits.items()}


def texts_of(*splits):
    return {name: datasets.Dataset.from_dict({"text": [f"the cat {name}"] * 3}) for name in splits}


def refused(load, data, config):
    with pytest.raises(UserError) as caught:
        load(str(data), config)
    return str(caught.value)


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("write", [write_classes, write_parquet, None], ids=["folders", "tables", "Hub"])
def test_images_are_validated_on_whatever_the_split_is_called(tmp_path, monkeypatch, alias, write):
    splits = {**SPLITS, alias: OWN}
    if write is None:
        hub_of(monkeypatch, tables_of(**splits))
        name = "some/name"
    else:
        name = str(write(tmp_path / "mine", splits, NAMES))
    data = load_images(name, ImageConfig())
    assert {name: split["images"] for name, split in data.splits.items()} == {"train": 8, "validation": 6, "test": 4}
    assert data.splits["validation"]["from"] == "validation"
    wanted = OWN.take(OWN.labels.argsort(stable=True)) if write is write_classes else OWN
    assert torch.equal(data.validation.images, wanted.images)
    assert data.passed_over == {}


@pytest.mark.parametrize("alias", ALIASES)
def test_texts_are_validated_on_whatever_the_split_is_called(tmp_path, monkeypatch, alias):
    folders = [write_text(tmp_path / "a", f"{alias}.txt"), write_text(tmp_path / "b", f"ptb.{alias}.txt")]
    folders.append(tmp_path / "c")
    folders[-1].mkdir()
    for name, rows in texts_of("train", alias, "test").items():
        rows.to_parquet(folders[-1] / f"{name}.parquet")
    found = [load_text(str(folder), TextConfig()) for folder in folders]
    hub_of(monkeypatch, texts_of("train", alias, "test"))
    for text in (*found, load_text("some/name", TextConfig())):
        assert text.splits["validation"]["sentences"] == 3


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_validation_splits_are_refused(tmp_path, monkeypatch, first, second):
    splits = {**SPLITS, first: OWN, second: OWN}
    ends = "which both name its validation split; take one away"
    folder = write_classes(tmp_path / "a", splits, NAMES)
    assert refused(load_images, folder, ImageConfig()) == f"data folder {folder} has {first}/ and {second}/, {ends}"
    folder, names = write_parquet(tmp_path / "b", splits, NAMES), f"{first}.parquet and {second}.parquet"
    assert refused(load_images, folder, ImageConfig()) == f"data folder {folder} has {names}, {ends}"
    folder, names = write_text(tmp_path / "c", f"{first}.txt", f"ptb.{second}.txt"), f"{first}.txt and ptb.{second}.txt"
    assert refused(load_text, folder, TextConfig()) == f"data folder {folder} has {names}, {ends}"
    hub_of(monkeypatch, tables_of(**splits))
    assert refused(load_images, "some/name", ImageConfig()) == f"data some/name has {first} and {second}, {ends}"
    hub_of(monkeypatch, texts_of("train", first, second, "test"))
    assert refused(load_text, "some/name", TextConfig()) == f"data some/name has {first} and {second}, {ends}"


def test_a_whole_file_beside_its_parts_is_refused(tmp_path):
    folder = write_parquet(tmp_path / "mine", SPLITS)
    (folder / "train-00000-of-00001.parquet").write_bytes((folder / "train.parquet").read_bytes())
    expected = "has train.parquet and train-*.parquet, which both name its train split"
    assert expected in refused(load_images, folder, ImageConfig())
