"""Folders of classes as people have them: with litter, other names of splits, and entries that are no images."""

import json
import os
import socket
from pathlib import Path

import pytest
from made_images import encoded, made, write_classes, write_parquet
from test_pixels import png

from cnas.cli.launch import main
from cnas.data import ImageConfig, load_images
from cnas.data.image_folder import NAMED, passed_over_line
from cnas.errors import UserError, one_line

NAMES = ["cat", "dog"]
SPLITS = {"train": made(8, (1, 4, 4), 2), "test": made(4, (1, 4, 4), 2, seed=2)}
SUFFIXES = ".png, .jpg, .jpeg, .bmp, .gif, .webp"


def refused(data):
    """The one line with which a data set is refused, without an address in memory."""
    with pytest.raises(UserError) as caught:
        load_images(str(data), ImageConfig())
    line = one_line(caught.value)
    assert " at 0x" not in line
    assert "object" not in line
    return line


@pytest.fixture
def folder(tmp_path):
    return write_classes(tmp_path / "mine", SPLITS, NAMES)


LITTER = [".DS_Store", "._0000.png", "Thumbs.db", "desktop.ini", ".hidden.png"]
LITTER_FOLDERS = [".ipynb_checkpoints", "__MACOSX", ".git"]


def test_what_editors_and_systems_leave_behind_changes_nothing(folder):
    plain = load_images(str(folder), ImageConfig())
    assert plain.passed_over == {}
    places = [folder, folder / "train", folder / "test", folder / "train" / "cat", folder / "test" / "dog"]
    for place in places:
        for name in LITTER:
            (place / name).write_bytes(b"no image")
        for name in LITTER_FOLDERS:
            (place / name).mkdir()
            (place / name / "0.png").write_bytes(b"nor this")
    found = load_images(str(folder), ImageConfig())
    assert (found.classes, found.fingerprint, found.splits) == (("cat", "dog"), plain.fingerprint, plain.splits)
    (reason,) = found.passed_over
    assert (reason, found.passed_over[reason]["entries"]) == ("hidden", len(places) * len(LITTER + LITTER_FOLDERS))


def test_what_is_no_image_is_counted_and_some_of_it_named(folder):
    for number in range(NAMED + 4):
        (folder / "train" / "cat" / f"{number}.tiff").write_bytes(b"")
    (folder / "train" / "stray.png").write_bytes(b"")
    (folder / "train" / "dog" / "more").mkdir()
    (folder / "train" / "dog" / "more" / "9.PNG").write_bytes(encoded(SPLITS["train"].images[0]))
    (folder / "train" / "dog" / "round").symlink_to(folder)
    (folder / "extra" / "cat").mkdir(parents=True)
    (folder / "extra" / "cat" / "0.png").write_bytes(encoded(SPLITS["train"].images[0]))
    os.mkfifo(folder / "test" / "cat" / "pipe")
    found = load_images(str(folder), ImageConfig())
    assert sum(found.splits[split]["images"] for split in ("train", "validation")) == 9
    assert found.passed_over == {
        "of no split": {"entries": 1, "first": ["extra"]},
        "beside the classes": {"entries": 1, "first": ["train/stray.png"]},
        "not named like an image": {"entries": NAMED + 5, "first": [f"train/cat/{n}.tiff" for n in range(NAMED)]},
        "a link to a folder": {"entries": 1, "first": ["train/dog/round"]},
    }
    line = passed_over_line(found.passed_over)
    assert line.startswith("passed over: 1 of no split (extra); 1 beside the classes (train/stray.png); ")
    assert f"{NAMED + 5} not named like an image (train/cat/0.tiff, train/cat/1.tiff, train/cat/2.tiff, …)" in line


def test_names_that_are_no_text_are_told_and_recorded(folder):
    odd = os.fsdecode(b"odd\xff.txt")
    (folder / odd).write_bytes(b"")
    record = load_images(str(folder), ImageConfig()).passed_over
    assert json.dumps(record, ensure_ascii=False).encode()
    assert record["of no split"]["first"] == ["odd\\xff.txt"]
    (folder / "train" / os.fsdecode(b"eel\xff")).mkdir()
    assert "must have a name in UTF-8" in refused(folder)


@pytest.mark.parametrize("split", ["train", "test", "val"])
@pytest.mark.parametrize("left", [[], ["notes.txt"], ["a.tiff", "b.TIF", "c", "d"], [".DS_Store"]])
def test_a_class_without_an_image_is_refused(tmp_path, split, left):
    splits = {**SPLITS, "val": SPLITS["test"]}
    folder = write_classes(tmp_path / "mine", splits, NAMES)
    for file in (folder / split / "dog").iterdir():
        file.unlink()
    for name in left:
        (folder / split / "dog" / name).write_bytes(b"")
    found = ", ".join(left[:NAMED]) + " and more" * (len(left) > NAMED) if left else "nothing"
    assert refused(folder) == f"{folder / split / 'dog'} has no image: files must end in {SUFFIXES}, found {found}"


@pytest.mark.parametrize(
    ("places", "lacks", "classes"),
    [
        (["train"], "val", "cat, dog, fox"),
        (["train", "val"], "test", "cat, dog, fox"),
        (["val"], "train", "cat, dog"),
        (["test"], "train", "cat, dog"),
    ],
)
def test_a_class_of_one_split_alone_is_refused(tmp_path, places, lacks, classes):
    folder = write_classes(tmp_path / "mine", {**SPLITS, "val": SPLITS["test"]}, NAMES)
    for split in places:
        (folder / split / "fox").mkdir()
        (folder / split / "fox" / "0.png").write_bytes(encoded(SPLITS["train"].images[0]))
    has = f"{folder / places[0]} has a class fox, {folder / lacks} has none"
    assert refused(folder) == f"{has}; the classes of train are {classes}"


def test_images_without_classes_are_refused(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "0.png").write_bytes(encoded(SPLITS["train"].images[0]))
    assert refused(tmp_path) == f"{tmp_path / 'train'} has no folders; one for each class is needed, train/CLASS/"


def test_tables_and_folders_beside_those_that_are_read_are_named(tmp_path):
    folder = write_parquet(tmp_path / "mine", {**SPLITS, "more": SPLITS["test"]})
    (folder / "val").mkdir()
    found = load_images(str(folder), ImageConfig()).passed_over
    assert found == {"of no split": {"entries": 2, "first": ["more.parquet", "val"]}}


def a_folder(path):
    path.mkdir()


def a_pipe(path):
    os.mkfifo(path)


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as made_socket:
        made_socket.bind(str(path))


def a_device(path):
    path.symlink_to("/dev/zero")


def a_link_to_nothing(path):
    path.symlink_to(path.with_name("nothing"))


def a_link_to_itself(path):
    path.symlink_to(path)


def empty(path):
    path.write_bytes(b"")


def no_picture(path):
    path.write_bytes(b"once upon a time")


def cut_off(path):
    path.write_bytes(encoded(made(1, (3, 40, 40)).images[0])[:900])


def a_bomb(path):
    path.write_bytes(png(100_000, 100_000, 8, b""))


def a_huge_file(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


ODD = {
    a_folder: "is named like an image and is a folder",
    a_pipe: "is named like an image and is a pipe or device",
    a_socket: "is named like an image and is a pipe or device",
    a_device: "is named like an image and is a pipe or device",
    a_link_to_nothing: "cannot be read: it is a link to nothing",
    a_link_to_itself: "cannot be read: Too many levels of symbolic links",
    empty: "is no readable image: it has 0 bytes",
    no_picture: "is no readable image: 16 bytes of no known format",
    cut_off: "is no readable image: what it holds is broken or cut off",
    a_bomb: "is no readable image: it has more than 16,777,216 pixels",
    a_huge_file: "has 1,099,511,627,776 bytes; images have at most 268,435,456",
}


@pytest.mark.parametrize("odd", ODD, ids=[odd.__name__ for odd in ODD])
def test_an_entry_that_cannot_be_opened_is_one_line(folder, odd, capsys, monkeypatch):
    file = folder / "test" / "dog" / "x.png"
    monkeypatch.chdir(file.parent)  # the name of a socket must be short
    odd(Path("x.png") if odd is a_socket else file)
    argv = ["--preset", "smoke", "--data", str(folder), "--output-dir", str(folder.parent / "run")]
    assert main("nats_cl", argv) == 2
    assert capsys.readouterr().err == f"error: {file} {ODD[odd]}\n"
    assert not (folder.parent / "run").exists()


@pytest.mark.parametrize("name", ["train", "train/fox"])
def test_a_folder_that_leads_nowhere_is_one_line(folder, name):
    (folder / "train").rename(folder / "away") if name == "train" else None
    (folder / name).symlink_to(folder / "nothing")
    assert ("has no train split" if name == "train" else "fox cannot be read: it is a link to nothing") in refused(
        folder
    )


def test_classes_may_be_links(folder):
    plain = load_images(str(folder), ImageConfig())
    (folder / "train" / "cat").rename(folder.parent / "elsewhere")
    (folder / "train" / "cat").symlink_to(folder.parent / "elsewhere")
    assert load_images(str(folder), ImageConfig()).fingerprint == plain.fingerprint


def test_a_folder_that_may_not_be_read_is_one_line(folder, monkeypatch):
    listed = Path.iterdir

    def iterdir(path):
        if path.name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert refused(folder) == f"{folder / 'train' / 'dog'} cannot be read: Permission denied"


@pytest.mark.parametrize("count", [0, 1])
def test_a_split_of_one_image_is_refused_before_anything_is_trained(tmp_path, count):
    splits = {**SPLITS, "test": made(count, (1, 4, 4), 2)}
    words = "has no rows" if count == 0 else "test has 1 image as it is divided; at least 2 are needed"
    assert words in refused(write_parquet(tmp_path / "mine", splits))
