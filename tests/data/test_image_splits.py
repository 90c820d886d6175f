"""How images are divided: by NATS-Bench's files, in drawn halves, or as the data says; and how many are taken."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import made, write_parquet

from cnas.data import ImageConfig, load_images
from cnas.data._image_splits import by_file, halved
from cnas.data.image_set import ImageSource
from cnas.errors import UserError

few = settings(derandomize=True, deadline=None, max_examples=25)


def source_of(train=7, test=4, **splits):
    return ImageSource("made", {"train": made(train), "test": made(test, seed=2), **splits}, ("0", "1", "2"))


def places(part, whole):
    """Where the images of ``part`` are in ``whole``; made-up images are all different."""
    return [int((whole.images == image).flatten(1).all(dim=1).nonzero()[0, 0]) for image in part.images]


def split_file(folder, **indices):
    file = folder / "split.txt"
    file.write_text(json.dumps({name: ["int", list(map(str, each))] for name, each in indices.items()}), "utf-8")
    return file


@few
@given(count=st.integers(2, 30), seed=st.integers(0, 50))
def test_halves_are_two_and_keep_the_order(count, seed):
    source = source_of(count)
    division = halved(source, seed)
    first, second = (places(division.splits[name], source.splits["train"]) for name in ("train", "validation"))
    assert sorted(first + second) == list(range(count))
    assert (first, second) == (sorted(first), sorted(second))
    assert 0 <= len(first) - len(second) <= 1
    assert division.splits["test"] is source.splits["test"]
    assert halved(source, seed).origin == division.origin


def test_another_seed_draws_other_halves():
    source = source_of(30)
    found = [places(halved(source, seed).splits["train"], source.splits["train"]) for seed in (1, 2)]
    assert found[0] != found[1]


def test_validation_images_of_its_own_are_kept():
    source = source_of(validation=made(5, seed=3))
    division = halved(source, 1)
    assert division.splits == dict(source.splits)
    assert division.origin == {"train": "train", "validation": "validation", "test": "test"}


def test_a_file_divides_the_training_images(tmp_path):
    source = source_of()
    division = by_file(source, split_file(tmp_path, train=[6, 0, 2], valid=[1, 5]))
    train = source.splits["train"]
    assert places(division.splits["train"], train) == [0, 2, 6]
    assert places(division.splits["validation"], train) == [1, 5]
    assert division.splits["test"] is source.splits["test"]
    assert division.origin == {"train": "train of split.txt", "validation": "valid of split.txt", "test": "test"}


def test_a_file_divides_the_test_images(tmp_path):
    source = source_of()
    division = by_file(source, split_file(tmp_path, xvalid=[1, 3], xtest=[0, 2]))
    assert division.splits["train"] is source.splits["train"]
    assert places(division.splits["validation"], source.splits["test"]) == [1, 3]
    assert places(division.splits["test"], source.splits["test"]) == [0, 2]
    origin = {"train": "train", "validation": "xvalid of split.txt", "test": "xtest of split.txt"}
    assert division.origin == origin


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[]", "must hold an object with the splits, got list"),
        (b'{"train": ["int", ["0"]]}', r"must name train and valid, or xvalid and xtest, got \['train'\]"),
        (b'{"train": ["0"], "valid": ["int", ["1"]]}', r'train must be \["int", \[indices\]\]'),
        (b'{"train": ["int", []], "valid": ["int", ["1"]]}', "at least one index"),
        (b'{"train": ["int", ["0"]], "valid": ["int", ["7"]]}', "valid has the index '7'; allowed are 0 to 6$"),
        (b'{"train": ["int", ["-1"]], "valid": ["int", ["1"]]}', "train has the index '-1'; allowed are 0 to 6$"),
        (b'{"train": ["int", [true]], "valid": ["int", ["1"]]}', "train has the index True"),
        (b'{"train": ["int", ["0", "1"]], "valid": ["int", ["1"]]}', "train and valid share an index, or one is twice"),
        (b'{"xtest": ["int", ["0", "0"]], "xvalid": ["int", ["1"]]}', "xvalid and xtest share an index"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, content, message):
    (tmp_path / "split.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"^images\.split_file .*split\.txt.*{message}") as caught:
        by_file(source_of(), tmp_path / "split.txt")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_needed_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^images\.split_file .*missing cannot be read"):
        by_file(source_of(), tmp_path / "missing")
    with pytest.raises(UserError, match=r"^images\.split_file must be none: data made has validation images"):
        by_file(source_of(validation=made(3)), split_file(tmp_path, train=[0], valid=[1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_parquet(tmp_path_factory.mktemp("images") / "mine", {"train": made(40), "test": made(9, seed=2)})


def test_limits_take_so_many_images_of_each_split(folder):
    config = ImageConfig(search_images=5, train_images=12, valid_images=7, test_images=4)
    data, full = load_images(str(folder), config), load_images(str(folder), ImageConfig())
    sets = {name: getattr(data, name) for name in ("search", "train", "validation", "test")}
    assert {name: len(images) for name, images in sets.items()} == {
        "search": 5,
        "train": 12,
        "validation": 7,
        "test": 4,
    }
    assert set(places(data.search, full.train)) < set(places(data.train, full.train))
    for name in ("train", "validation", "test"):
        found = places(sets[name], getattr(full, name))
        assert found == sorted(set(found))
        assert found != list(range(len(found)))  # drawn, since a folder may be sorted by class
    assert (data.fingerprint, data.splits) == (full.fingerprint, full.splits)
    assert full.splits["validation"] == {"images": 20, "from": "the other half of train, split_seed 1"}


def test_more_than_there_is_takes_all(folder):
    data, full = (load_images(str(folder), config) for config in (ImageConfig(train_images=1000), ImageConfig()))
    assert torch.equal(data.train.images, full.train.images)
    assert torch.equal(data.search.images, full.train.images)


def test_the_split_seed_and_the_file_decide_the_fingerprint(folder, tmp_path):
    file = split_file(tmp_path, train=range(30), valid=range(30, 40))
    configs = [ImageConfig(), ImageConfig(split_seed=2), ImageConfig(split_file=str(file))]
    found = [load_images(str(folder), config) for config in configs]
    assert len({data.fingerprint for data in found}) == 3
    assert found[2].splits["train"] == {"images": 30, "from": "train of split.txt"}
    assert len(found[2].validation) == 10


def test_a_limit_that_leaves_one_class_is_refused(tmp_path):
    images = made(400, (1, 2, 2), classes=2)
    images.labels[:] = 0
    images.labels[-1] = 1
    folder = write_parquet(tmp_path / "mine", {"train": images, "validation": made(3, (1, 2, 2), 2), "test": images})
    with pytest.raises(
        UserError, match=r"^data .*\(images\.search_images\): all 3 images have the label 0; at least 2"
    ):
        load_images(str(folder), ImageConfig(search_images=3))
