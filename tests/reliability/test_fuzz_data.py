"""Broken text and broken images: what a user reads names the file and the place in it, or the data is taken."""

import io
import json
import os
import random
import shutil
import struct

import pyarrow as pa
import pyarrow.parquet as pq
from damage import damaged_bytes
from PIL import Image
from refusals import Counted, taken, tree

from cnas.data import ImageConfig, TextConfig, load_images, load_text
from cnas.errors import UserError

LINES = "the cat sat on the mat\nthe dog sat\n" * 4


def text_folder(folder, train):
    folder.mkdir()
    for split in ("valid", "test"):
        (folder / f"{split}.txt").write_text(LINES, "utf-8")
    if train is not None:
        (folder / "train.txt").write_bytes(train)
    return folder


BAD_TEXTS = {
    "missing": (None, ["train", "train.txt"]),
    "empty": (b"", ["train.txt", "is empty"]),
    "blank": (b" \n\t\n\r\n", ["train", "no words"]),
    "latin-1": ("ok\nn\xe9\n".encode("latin-1"), ["train.txt", "not UTF-8", "line 2"]),
    "UTF-16": (LINES.encode("utf-16"), ["train.txt", "not UTF-8", "UTF-16 (little-endian)"]),
    "UTF-16 without a mark": (LINES.encode("utf-16-be"), ["train.txt", "UTF-16 (big-endian, without"]),
    "NUL": (b"the\rcat\x00sat\n", ["train.txt", "NUL", "line 2", "byte offset 7"]),
    "cut in a letter": ("ok\nok\né".encode()[:-1], ["train.txt", "line 3", "byte offset 6"]),
    "surrogate": (b"ok\n\xed\xa0\x80\n", ["train.txt", "line 2"]),
}
"""What cannot be used, and what the message must say."""
ODD_TEXTS = {
    "carriage returns and newlines": (b"the cat\r\nsat\r\n", 5),
    "carriage returns alone": (b"the cat\rsat\r", 5),
    "all ends of lines": (b"the cat\r\nsat\rthe\n\rdog", 9),
    "line separators": ("the\u2028cat\u0085sat\n".encode(), 4),
    "a long line": (b"word " * 200_000, 200_001),
    "no newline at the end": (b"the cat", 3),
    "byte order mark": (b"\xef\xbb\xbfthe cat\n", 3),
    "byte order marks within": (b"the cat\n\xef\xbb\xbfsat\n\xef\xbb\xbf\n", 5),
}
"""What is odd and can be used, and how many tokens it has; a sentence ends in one."""


def refusal(call):
    try:
        call()
    except UserError as problem:
        message = str(problem)
        assert "\n" not in message
        assert " at 0x" not in message
        return message
    raise AssertionError("it was taken")


def test_bad_text_is_refused_by_file_and_line(tmp_path, measured):
    for number, (name, (data, words)) in enumerate(BAD_TEXTS.items()):
        folder = text_folder(tmp_path / str(number), data)
        message = refusal(lambda folder=folder: load_text(str(folder), TextConfig()))
        assert not [word for word in words if word not in message], (name, message)
    for name, (data, tokens) in ODD_TEXTS.items():
        text = load_text(str(text_folder(tmp_path / name, data)), TextConfig(vocab_size=50))
        assert len(text.train) == tokens, name
    folder = text_folder(tmp_path / "unknown", b"the cat\n")
    unknown = load_text(str(folder), TextConfig())
    assert int((unknown.test == unknown.vocabulary.unk_id).sum()) > 0
    rows = len(BAD_TEXTS) + len(ODD_TEXTS) + 1
    measured(f"{rows} of {rows}: {len(BAD_TEXTS)} refused by file and place, {len(ODD_TEXTS) + 1} taken as they are")


def picture(size=(4, 4), mode="RGB", kind="PNG", seed=0):
    file = io.BytesIO()
    channels = {"RGB": 3, "L": 1, "CMYK": 4, "RGBA": 4, "I;16": 2}[mode]
    data = random.Random(seed).randbytes(size[0] * size[1] * channels)
    Image.frombytes(mode, size, data).save(file, kind)
    return file.getvalue()


def image_rows(*changed, count=6):
    rows = [{"image": {"bytes": picture(seed=row), "path": None}, "label": row % 2} for row in range(count)]
    for row, value in changed:
        rows[row] = {**rows[row], **value}
    return rows


def image_folder(folder, rows, data=None):
    folder.mkdir()
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for split, these in (("train", rows), ("test", image_rows())):
        labels = [row["label"] for row in these]
        table = pa.table({"image": pa.array([row["image"] for row in these], image), "label": pa.array(labels)})
        features = {"image": {"_type": "Image"}, "label": {"dtype": "int64", "_type": "Value"}}
        pq.write_table(
            table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}),
            folder / f"{split}.parquet",
        )
    if data is not None:
        (folder / "train.parquet").write_bytes(data((folder / "train.parquet").read_bytes()))
    return folder


def encoded(data):
    return {"image": {"bytes": data, "path": None}}


def huge():
    """A PNG of 100,000 pixels each way that has none of them."""
    data = picture()
    return data[:16] + struct.pack(">II", 100_000, 100_000) + data[24:]


BAD_IMAGES = {
    "truncated parquet": (image_rows(), lambda data: data[:-20], ["train", "Parquet"]),
    "no parquet": (image_rows(), lambda data: b"PAR1", ["train", "Parquet"]),
    "empty file": (image_rows(), lambda data: b"", ["train.parquet", "is empty"]),
    "no label": (image_rows((2, {"label": None})), None, ["row 2", "label", "whole numbers"]),
    "one class": (image_rows(*((row, {"label": 0}) for row in range(6))), None, ["train", "at least 2 classes"]),
    "no rows": ([], None, ["train", "no rows"]),
    "truncated picture": (image_rows((3, encoded(picture()[:50]))), None, ["row 3", "no readable image", "cut off"]),
    "no picture": (image_rows((4, encoded(b"GIF89a"))), None, ["row 4", "no readable image", "6 bytes of no known"]),
    "an empty picture": (image_rows((4, encoded(b""))), None, ["row 4", "no readable image", "0 bytes"]),
    "huge picture": (image_rows((1, encoded(huge()))), None, ["row 1", "no readable image"]),
    "sixteen bits": (image_rows((1, encoded(picture(mode="I;16")))), None, ["row 1", "I;16"]),
    "four colours": (image_rows((1, encoded(picture(mode="CMYK", kind="JPEG")))), None, ["row 1", "CMYK"]),
    "transparent": (image_rows((0, encoded(picture(mode="RGBA")))), None, ["row 0", "RGBA"]),
    "another size": (image_rows((5, encoded(picture(size=(5, 4))))), None, ["row 5", "all must be alike"]),
    "a negative label": (image_rows((2, {"label": -1})), None, ["train", "row 2", "-1"]),
    "a gap": (image_rows((2, {"label": 7})), None, ["label"]),
}


def test_bad_images_are_refused_by_file_and_row(tmp_path, measured):
    assert taken(lambda: load_images(str(image_folder(tmp_path / "good", image_rows())), ImageConfig()))
    for number, (name, (rows, data, words)) in enumerate(BAD_IMAGES.items()):
        folder = image_folder(tmp_path / str(number), rows, data)
        message = refusal(lambda folder=folder: load_images(str(folder), ImageConfig()))
        assert not [word for word in words if word not in message], (name, message)
    measured(f"{len(BAD_IMAGES)} of {len(BAD_IMAGES)} refused by file and row")


def class_folder(folder):
    for split in ("train", "val", "test"):
        for label in range(2):
            place = folder / split / f"class{label}"
            place.mkdir(parents=True)
            for row in range(2):
                (place / f"{row}.png").write_bytes(picture(seed=row))
    return folder


def spoil(folder, draws):
    """Do one thing to a folder of classes that people and systems do to theirs."""
    paths = sorted(folder.rglob("*"))
    path = draws.choice(paths)
    name = draws.choice(["x.png", "._0.png", ".DS_Store", "notes.txt", "__MACOSX", "x.PNG", "valid", "\u202ex.gif"])
    place = (path if path.is_dir() else path.parent) / name
    kind = draws.randrange(7)
    if kind == 0 and path.is_file():
        path.write_bytes(damaged_bytes(path.read_bytes(), draws))
    elif kind == 1 and path.is_file():
        path.unlink()
    elif kind == 2 and path.parent != folder:
        path.rename(path.with_name(f"{path.name}.gif"))
    elif not place.exists() and not place.is_symlink():
        make = [place.mkdir, place.touch, lambda: os.mkfifo(place), lambda: place.symlink_to(draws.choice(paths))]
        draws.choice([*make, lambda: place.write_bytes(picture(seed=3))])()


def test_spoiled_folders_are_read_or_refused(tmp_path, budget, measured):
    counted = Counted()
    for case in range(budget(40, 1_000)):
        draws, folder = random.Random(case), class_folder(tmp_path / str(case))
        for _ in range(draws.randrange(1, 4)):
            spoil(folder, draws)
        before = tree(folder)
        counted.add(lambda folder=folder: load_images(str(folder), ImageConfig()))
        assert tree(folder) == before
        shutil.rmtree(folder)
    counted.both()
    measured(str(counted))


def test_damaged_data_is_read_or_refused(tmp_path, budget, measured):
    texts, images = text_folder(tmp_path / "text", LINES.encode()), image_folder(tmp_path / "images", image_rows())
    pq.write_table(pa.table({"text": LINES.splitlines()}), tmp_path / "rows.parquet")
    table = text_folder(tmp_path / "table", None)
    for split in ("train", "valid", "test"):
        (table / f"{split}.parquet").write_bytes((tmp_path / "rows.parquet").read_bytes())
    targets = {
        texts / "train.txt": lambda: load_text(str(texts), TextConfig()),
        table / "train.parquet": lambda: load_text(str(table), TextConfig()),
        images / "train.parquet": lambda: load_images(str(images), ImageConfig()),
    }
    wholes, counted = {path: path.read_bytes() for path in targets}, Counted()
    for case in range(budget(30, 1_500)):
        draws = random.Random(case)
        path = draws.choice(list(targets))
        path.write_bytes(damaged_bytes(wholes[path], draws))
        counted.add(targets[path])
        path.write_bytes(wholes[path])
    counted.both()
    measured(str(counted))
