"""ImageNet16-120 from files in the official layout, with made-up content."""

import pickle

import numpy as np
import pytest
import torch

from cnas.data import ImageConfig, load_images
from cnas.data.published_images import TEST, TRAIN
from cnas.errors import UserError


def content(seed, labels=(1, 121, 120, 1000, 2)):
    rows = np.random.default_rng(seed).integers(0, 256, (len(labels), 768), dtype=np.uint8)
    return {"data": rows, "labels": list(labels), "mean": rows.mean(axis=0)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    for seed, name in enumerate((*TRAIN, TEST)):
        (tmp_path / "files" / name).write_bytes(pickle.dumps(content(seed), seed % 5))
    return tmp_path / "files"


def refused(folder):
    with pytest.raises(UserError) as caught:
        load_images(str(folder), ImageConfig())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_first_120_classes_are_read(folder):
    data = load_images(str(folder), ImageConfig())
    assert data.name == "imagenet16_120"
    assert len(data.classes) == 120
    assert [len(images) for images in (data.train, data.validation, data.test)] == [15, 15, 3]
    assert data.test.labels.tolist() == [0, 119, 1]
    assert data.test.shape == (3, 16, 16)
    # Row-wise pixels of one channel after another.
    expected = content(len(TRAIN))["data"][2]
    assert data.test.images[1].flatten().tolist() == expected.tolist()
    assert int(data.test.images[1, 2, 0, 1]) == expected[2 * 256 + 1]
    assert data.augment.pad == 2
    assert data.statistics.mean == tuple(value / 255 for value in (122.68, 116.66, 104.01))
    assert sorted(torch.cat([data.train.labels, data.validation.labels]).tolist()) == [0] * 10 + [1] * 10 + [119] * 10


def test_files_of_python_2_are_read(folder):
    """Their keys and their pixels are both byte strings of Python 2."""
    pixels = bytes(range(256)) * 3
    content = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02M\x00\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x06\x00\x00" + 2 * pixels + b"tb"
        b"U\x06labels](K\x02K\x02eu."
    )
    (folder / TEST).write_bytes(content)
    data = load_images(str(folder), ImageConfig())
    assert data.test.images.flatten().tolist() == 2 * list(pixels)
    assert data.test.labels.tolist() == [1, 1]


def test_missing_files_are_named(folder):
    (folder / TEST).unlink()
    (folder / TRAIN[3]).unlink()
    assert refused(folder).endswith("lacks files of ImageNet16: train_data_batch_4, val_data")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "must hold a dict with data and labels"),
        ({"data": np.zeros((1, 768), np.uint8)}, "must hold a dict with data and labels"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [1]}, "array of bytes with 768 columns, 16x16 RGB images"),
        ({"data": np.zeros((1, 768)), "labels": [1]}, "array of bytes with 768 columns"),
        ({"data": np.zeros((2, 768), np.uint8), "labels": [1]}, "labels must be a list of 2, one for each image"),
        ({"data": np.zeros((2, 768), np.uint8), "labels": [1, 0]}, "row 1 (from 0) has the label 0; labels must be"),
        ({"data": np.zeros((1, 768), np.uint8), "labels": ["a"]}, "row 0 (from 0) has the label 'a'"),
    ],
)
def test_files_that_hold_something_else_are_refused(folder, value, message):
    (folder / TRAIN[0]).write_bytes(pickle.dumps(value))
    assert f"{TRAIN[0]}" in refused(folder)
    assert message in refused(folder)


def test_a_malicious_file_does_not_run(folder, tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path / "ran").mkdir, ()

    (folder / TRAIN[9]).write_bytes(pickle.dumps({"data": Payload(), "labels": []}))
    assert "train_data_batch_10 was not opened: it asks for" in refused(folder)
    assert not (tmp_path / "ran").exists()
