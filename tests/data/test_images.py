"""Images from files and the embedded digits: equal images are equal data, and what is wrong is said in one line."""

import os
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from made_images import encoded, made, picture, records, table, write_classes, write_parquet
from PIL import Image
from pyarrow import parquet

from cnas.data import Augment, ChannelStatistics, ImageConfig, load_images
from cnas.errors import UserError

CNAS_DATA = os.environ.get("CNAS_DATA")
NAMES = ["cat", "dog", "eel"]
SPLITS = {"train": made(8), "test": made(4, seed=2)}


def in_order_of_classes(images):
    return images.take(images.labels.argsort(stable=True))


SORTED = {split: in_order_of_classes(images) for split, images in SPLITS.items()}


def refused(data, **config):
    """The message with which a data set is refused: one line, exit code 2."""
    with pytest.raises(UserError) as caught:
        load_images(str(data), ImageConfig(**config))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_train(folder, rows, labels=None, **kwargs):
    """A folder whose training split has these rows; its test split is in order."""
    write_parquet(folder, {"test": SPLITS["test"]})
    labels = [index % 2 for index in range(len(rows))] if labels is None else labels
    table(rows, labels, **kwargs).to_parquet(folder / "train.parquet")
    return folder


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def test_the_same_images_are_the_same_data_in_every_format(tmp_path):
    write = [
        write_parquet(tmp_path / "a", SORTED, NAMES),
        write_parquet(tmp_path / "b", SORTED, NAMES, columns=("image", "label")),
        write_parquet(tmp_path / "c", SORTED, NAMES, columns=("img", "fine_label")),
        write_classes(tmp_path / "d", SORTED, NAMES),
    ]
    (tmp_path / "a" / "train.parquet").rename(tmp_path / "a" / "train-00000-of-00001.parquet")
    found = [load_images(str(folder), ImageConfig()) for folder in write]
    assert [data.name for data in found] == ["a", "b", "c", "d"]
    assert {data.fingerprint for data in found} == {found[0].fingerprint}
    for data in found:
        assert data.classes == tuple(NAMES)
        assert data.train.shape == (3, 8, 8)
        assert torch.equal(data.test.images, SORTED["test"].images)
        assert torch.equal(data.test.labels, SORTED["test"].labels)
        assert torch.equal(data.search.images, data.train.images)
        assert data.statistics == ChannelStatistics.of(data.search.images)


def test_the_fingerprint_tells_pixels_labels_and_names_apart(tmp_path):
    pixel, label = (in_order_of_classes(SPLITS["test"]) for _ in range(2))
    pixel.images[0, 0, 0, 0] ^= 1
    label.labels[0] = 2
    folders = [
        write_parquet(tmp_path / "a", SORTED, NAMES),
        write_parquet(tmp_path / "b", {**SORTED, "test": pixel}, NAMES),
        write_parquet(tmp_path / "c", {**SORTED, "test": label}, NAMES),
        write_parquet(tmp_path / "d", SORTED, NAMES[::-1]),
    ]
    assert len({load_images(str(folder), ImageConfig()).fingerprint for folder in folders}) == 4


def test_validation_images_of_its_own_are_used(tmp_path):
    splits = {**SORTED, "valid": in_order_of_classes(made(5, seed=3))}
    for folder in (write_parquet(tmp_path / "a", splits, NAMES), write_classes(tmp_path / "b", splits, NAMES)):
        data = load_images(str(folder), ImageConfig())
        assert torch.equal(data.validation.images, splits["valid"].images)
        assert len(data.train) == 8
        assert data.splits["validation"] == {"images": 5, "from": "validation"}


@pytest.mark.parametrize("shape", [(1, 5, 9), (3, 64, 64), (1, 1, 1)])
def test_other_sizes_and_grey_images_are_read_as_they_are(tmp_path, shape):
    splits = {"train": made(6, shape), "test": made(4, shape, seed=2)}
    data = load_images(str(write_parquet(tmp_path / "mine", splits)), ImageConfig())
    assert data.train.shape == shape
    assert torch.equal(data.test.images, splits["test"].images)
    assert data.classes == ("0", "1", "2")
    assert data.augment == Augment(pad=max(min(shape[1:]) // 8, 1))
    assert len(data.statistics.mean) == shape[0]


def test_palettes_and_black_and_white_images_are_read(tmp_path):
    image = made(1, (3, 4, 4)).images[0]
    palette = picture(image).quantize(256)
    rows = [{"bytes": encoded(palette, "GIF"), "path": None}] * 8
    train = with_train(tmp_path / "a", rows)
    table(rows[:2], [0, 1]).to_parquet(train / "test.parquet")
    expected = torch.from_numpy(np.array(palette.convert("RGB"))).permute(2, 0, 1)
    assert torch.equal(load_images(str(train), ImageConfig()).test.images[0], expected)
    grey = Image.new("1", (4, 4), 1)
    rows = [{"bytes": encoded(grey), "path": None}] * 8
    folder = with_train(tmp_path / "b", rows)
    table(rows[:2], [0, 1]).to_parquet(folder / "test.parquet")
    assert load_images(str(folder), ImageConfig()).test.images.unique().tolist() == [255]


def test_what_is_said_about_views_is_kept(tmp_path):
    folder = str(write_parquet(tmp_path / "mine", SPLITS))
    config = ImageConfig(flip=False, pad=3, cutout=2, scoring_view="augmented")
    assert load_images(folder, config).augment == Augment(flip=False, pad=3, cutout=2, while_scoring=True)
    assert load_images("digits", ImageConfig(flip=True)).augment == Augment(flip=True, pad=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "CMYK", "I;16"])
def test_images_with_other_channels_are_refused_with_their_row(tmp_path, mode):
    rows = records(made(3))
    rows[1]["bytes"] = encoded(Image.new(mode, (8, 8)), "TIFF")
    message = refused(with_train(tmp_path / "mine", rows))
    assert f"train: row 1 (from 0) has the mode {mode}; allowed are grey (L) and RGB" in message


def test_transparent_palettes_are_refused(tmp_path):
    rows = records(made(2))
    file = tmp_path / "clear.gif"
    Image.new("P", (8, 8)).save(file, transparency=0)
    rows[0]["bytes"] = file.read_bytes()
    assert "row 0 (from 0) has the mode RGBA" in refused(with_train(tmp_path / "mine", rows))


@pytest.mark.parametrize(
    "content", [b"", b"no image", encoded(made(1).images[0])[:60], b"\x89PNG\r\n\x1a\n" + b"\0" * 50]
)
def test_broken_images_are_refused_with_their_row_or_file(tmp_path, content):
    rows = records(made(3))
    rows[2]["bytes"] = content
    assert "train: row 2 (from 0) is no readable image: " in refused(with_train(tmp_path / "a", rows))
    folder = write_classes(tmp_path / "b", SORTED, NAMES)
    (folder / "test" / "dog" / "0009.png").write_bytes(content)
    assert f"dog{os.sep}0009.png is no readable image: " in refused(folder)


def test_images_of_several_shapes_are_refused(tmp_path):
    rows = records(made(3))
    rows[1]["bytes"] = encoded(made(1, (1, 8, 8)).images[0])
    message = refused(with_train(tmp_path / "a", rows))
    assert "row 1 (from 0) has 8x8 pixels with 1 channel, the first image 8x8 pixels with 3 channels" in message
    folder = write_parquet(tmp_path / "b", {**SPLITS, "test": made(4, (3, 8, 9))})
    message = refused(folder)
    assert "test has images of 8x9 pixels with 3 channels, those of train have 8x8 pixels with 3 channels" in message


@pytest.mark.parametrize(
    ("split", "labels", "names", "message"),
    [
        ("train", [0, 1, 3], NAMES, "train: row 2 (from 0) has the label 3; labels must be 0 to 2"),
        ("train", [0, -1, 1], NAMES, "train: row 1 (from 0) has the label -1; labels must be 0 to 2"),
        ("train", [0, -1, 1], None, "train: row 1 (from 0) has the label -1; labels must be 0 to 1"),
        ("test", [0, 1, 2], None, "test: row 2 (from 0) has the label 2; labels must be 0 to 1"),
        ("train", [1, 2, 1], None, "no row has the label 0; labels must count from 0 without gaps, got 1"),
        ("train", [0, 10**12, 1], None, "no row has the label 2; labels must count from 0 without gaps"),
        ("train", [1, 1, 1], NAMES, "train: all 3 images have the label 1; at least 2 classes are needed"),
        ("train", [0, 0, 0], None, "train: all 3 images have the label 0; at least 2 classes are needed"),
        ("train", [0, None, 1], None, "train: row 1 (from 0): column label must hold whole numbers, got NoneType"),
        ("train", [], None, "train has no rows"),
        ("test", [], NAMES, "test has no rows"),
    ],
)
def test_labels_that_name_no_classes_are_refused(tmp_path, split, labels, names, message):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("train", "test"):
        rows = labels if name == split else [0, 1, 0]
        features = datasets.Features({"label": datasets.Value("int64"), "img": datasets.Image()})
        if names:
            features["label"] = datasets.ClassLabel(names=names)
        # Written without a check of the labels, as other tools would.
        plain = datasets.Dataset.from_dict({"label": rows, "img": records(made(len(rows)))}).with_format("arrow")[:]
        schema = features.arrow_schema
        parquet.write_table(plain.cast(schema).replace_schema_metadata(schema.metadata), folder / f"{name}.parquet")
    assert message in refused(folder)


@pytest.mark.parametrize("labels", [["0", "1"], [0.5, 1.0], [True, False]])
def test_labels_that_are_no_numbers_are_refused(tmp_path, labels):
    folder = write_parquet(tmp_path / "mine", SPLITS)
    datasets.Dataset.from_dict({"img": records(made(2)), "label": labels}).to_parquet(folder / "train.parquet")
    kind = type(labels[0]).__name__
    assert f"train: row 0 (from 0): column label must hold whole numbers, got {kind}" in refused(folder)


@pytest.mark.parametrize("rows", [[[1, 2], [3, 4]], ["a", "b"], [None, None]])
def test_columns_without_images_are_refused(tmp_path, rows):
    folder = write_parquet(tmp_path / "mine", SPLITS)
    datasets.Dataset.from_dict({"img": rows, "label": [0, 1]}).to_parquet(folder / "train.parquet")
    assert "row 0 (from 0): column img must hold encoded images, got" in refused(folder)


def test_tables_with_plain_bytes_are_read(tmp_path):
    folder = write_parquet(tmp_path / "mine", SPLITS)
    rows = [record["bytes"] for record in records(SPLITS["test"])]
    labels = SPLITS["test"].labels.tolist()
    datasets.Dataset.from_dict({"img": rows, "label": labels}).to_parquet(folder / "test.parquet")
    assert torch.equal(load_images(str(folder), ImageConfig()).test.images, SPLITS["test"].images)


def test_missing_columns_splits_and_files_are_named(tmp_path):
    folder = write_parquet(tmp_path / "a", SPLITS, columns=("picture", "label"))
    assert "train has no image column: one of img, image is needed, found ['picture', 'label']" in refused(folder)
    (write_parquet(tmp_path / "b", SPLITS) / "test.parquet").unlink()
    assert "has no test split: looked for test.parquet, test-*.parquet" in refused(tmp_path / "b")
    (write_parquet(tmp_path / "c", SPLITS) / "train.parquet").write_bytes(b"no parquet at all")
    assert "train.parquet cannot be read as Parquet: it is broken" in refused(tmp_path / "c")
    (write_parquet(tmp_path / "d", SPLITS) / "train.parquet").write_bytes(b"")
    assert "train.parquet is empty" in refused(tmp_path / "d")
    (tmp_path / "e").mkdir()
    assert "has no train split: looked for train.parquet, train-*.parquet, train/CLASS/" in refused(tmp_path / "e")


@pytest.mark.parametrize("data", ["", "cifar", "./missing/folder/here", "a/b/c", "x" * 5000, "\0"])
def test_unknown_names_are_refused_with_what_is_allowed(data):
    allowed = "digits, cifar10, cifar100, an existing folder or a Hub id (owner/name)"
    assert refused(data) == f"data must be {allowed}, got {data!r}"


@pytest.mark.parametrize(
    ("field", "value", "least"),
    [("search_images", 1, 2), ("valid_images", 0, 2), ("split_seed", -1, 0), ("pad", -1, 0), ("cutout", -2, 0)],
)
def test_fields_that_are_too_small_are_refused(field, value, least):
    with pytest.raises(UserError, match=rf"^images\.{field} must be at least {least}, got {value}$"):
        ImageConfig(**{field: value})


@pytest.mark.parametrize("field", ["pad", "cutout"])
def test_views_beyond_the_image_are_refused(field):
    assert refused("digits", **{field: 9}) == f"images.{field} must be at most 8, the side of an image, got 9"


def test_digits_are_handwritten_digits():
    digits = load_images("digits", ImageConfig())
    assert digits.name == "digits"
    assert digits.classes == tuple("0123456789")
    assert [len(images) for images in (digits.train, digits.validation, digits.test)] == [719, 719, 359]
    assert digits.train.shape == (1, 8, 8)
    assert (int(digits.train.images.min()), int(digits.train.images.max())) == (0, 255)
    assert all(len(images.labels.unique()) == 10 for images in (digits.train, digits.validation, digits.test))
    # The nearest mean image of a class recognises most of them: labels and images belong together.
    train, test = digits.train, digits.test
    means = torch.stack([train.images[train.labels == digit].float().mean(dim=0) for digit in range(10)])
    found = torch.cdist(test.images.float().flatten(1), means.flatten(1)).argmin(dim=1)
    assert float((found == test.labels).float().mean()) > 0.85


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert refused("digits") == "data digits needs scikit-learn, which is not installed: pip install 'cnas[digits]'"


@pytest.mark.skipif(not CNAS_DATA, reason="CNAS_DATA, the folder that holds cifar10_subset, is not set")
def test_the_subset_of_cifar_is_read():
    config = ImageConfig(search_images=500)
    data = load_images(str(Path(CNAS_DATA or "") / "cifar10_subset"), config)
    assert data.splits["train"] == {"images": 5000, "from": "half of train, split_seed 1"}
    assert (len(data.search), len(data.validation), len(data.test)) == (500, 5000, 2000)
    assert data.train.shape == (3, 32, 32)
    assert data.classes[0] == "airplane"
    assert torch.bincount(data.test.labels).tolist() == [200] * 10
    assert data.augment == Augment()
    published = (0.491, 0.482, 0.447)
    assert all(abs(a - b) < 0.03 for a, b in zip(data.statistics.mean, published, strict=True))
