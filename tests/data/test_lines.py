"""The same lines are the same data in every format, and the same tokens as the exported tokenizer's."""

import sys

import datasets
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from cnas.data import TextConfig, load_text
from cnas.data.pydoc import load_pydoc
from cnas.data.vocabulary import BLANKS
from cnas.errors import UserError
from cnas.hub import build_tokenizer

SPLITS = ("train", "validation", "test")
MARK = "\ufeff"
law = settings(
    derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SAMPLED = 61
"""Beyond the characters in use, one code point of so many is tried."""


def codes():
    """Code points that a text may hold: all of the first alphabets, all blanks, specials, a sample of the others."""
    some = [
        *range(1, 0x3100),
        *range(0xE000, 0xE100),
        *range(0xFE00, 0x10100),
        *range(0x10100, sys.maxunicode, SAMPLED),
    ]
    return [code for code in some if not 0xD800 <= code < 0xE000]


def txt(folder, content):
    """A folder whose splits are these bytes."""
    folder.mkdir()
    for split in SPLITS:
        (folder / f"{split}.txt").write_bytes(content)
    return str(folder)


def table(folder, rows):
    """A folder whose splits are tables of these rows."""
    folder.mkdir()
    for split in SPLITS:
        parquet.write_table(pa.table({"text": pa.array(rows, pa.string())}), folder / f"{split}.parquet")
    return str(folder)


def refused(data):
    with pytest.raises(UserError) as caught:
        load_text(data, TextConfig())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("cased", [False, True])
def test_every_character_is_the_same_for_training_and_for_the_exported_tokenizer(tmp_path, cased):
    """A vocabulary with more than a few capitals is looked up as it is, another one lower-cased."""
    capitals = "".join(f"Name{number}\n" for number in range(12)) if cased else ""
    letters = [letter for letter in map(chr, codes()) if cased or letter == letter.lower()]
    content = "".join(f"a{letter}b c{letter} {letter}a\n" for letter in letters) + "a b c\n"
    text = load_text(txt(tmp_path / "mine", (capitals + content).encode()), TextConfig(vocab_size=40))
    assert {"a", "b", "c"} <= set(text.vocabulary.words)
    assert build_tokenizer(text.vocabulary.words).encode(capitals + content) == text.train.tolist()


lines = st.lists(st.lists(st.sampled_from(["the", "cat", "<unk>", "x<unk>", "é", "\u200b"]), max_size=4), min_size=1)
ends = st.lists(st.sampled_from(["\n", "\r\n", "\r", "\n\n", f"\n{MARK}"]), min_size=60, max_size=60)
blanks = st.lists(st.sampled_from(BLANKS.replace("\n", "").replace("\r", "")), min_size=200, max_size=200)


def spelled(sentences, ends, blanks):
    """The sentences as one text, with any blanks and any ends of lines."""
    rest = iter(blanks)
    words = ["".join(f"{next(rest)}{word}" for word in sentence) for sentence in sentences]
    return [f"{line}{end}" for line, end in zip(words, ends, strict=False)]


@law
@given(lines, ends, blanks)
def test_the_same_lines_are_the_same_data_in_every_format(tmp_path_factory, monkeypatch, sentences, ends, blanks):
    home = tmp_path_factory.mktemp("formats")
    sentences = [["the", "cat"], *sentences][:50]
    plain = load_text(txt(home / "plain", "".join(f"{' '.join(each)}\n" for each in sentences).encode()), TextConfig())
    written = spelled(sentences, ends, blanks)
    rows = [MARK + "".join(written[:2]), *written[2:]]
    hub = datasets.DatasetDict({split: datasets.Dataset.from_dict({"text": rows}) for split in SPLITS})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: hub)
    found = {
        "txt": load_text(txt(home / "txt", (MARK + "".join(written)).encode()), TextConfig()),
        "rows": load_text(table(home / "rows", rows), TextConfig()),
        "one row": load_text(table(home / "row", ["".join(written), None, ""]), TextConfig()),
        "hub": load_text("some/name", TextConfig()),
    }
    for name, text in found.items():
        assert text.fingerprint == plain.fingerprint, name
        assert text.vocabulary == plain.vocabulary, name
        assert torch.equal(text.train, plain.train), name
    assert build_tokenizer(plain.vocabulary.words).encode("".join(written)) == plain.train.tolist()


def test_the_embedded_corpus_keeps_its_tokens():
    """Its words are those that `str.split` finds, as they have always been."""
    text, words = load_text("pydoc", TextConfig()), [line.split() for line in load_pydoc()["train"]]
    ids = {word: number for number, word in enumerate(text.vocabulary.words)}
    expected = [ids.get(word, 0) for line in words for word in [*line, "<eos>"]]
    assert text.train.tolist() == expected


def test_a_nul_is_refused_with_its_place(tmp_path, monkeypatch):
    assert "train.txt holds a NUL character: line 3, byte offset 10" in refused(
        txt(tmp_path / "a", "a b\r\né\rcd\0e\n".encode())
    )
    assert "train: row 2 (from 0) holds a NUL character, at offset 1" in refused(
        table(tmp_path / "b", ["a b", None, "c\0d"])
    )
    hub = datasets.DatasetDict({split: datasets.Dataset.from_dict({"text": ["a", "\0"]}) for split in SPLITS})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: hub)
    assert "data some/name: train: row 1 (from 0) holds a NUL character, at offset 0" in refused("some/name")


SAMPLES = ["the cat\na dog\n", "die Straße ist naß\r\n" * 3, "кот сидел на ковре\n" * 4, "η γάτα κάθισε\n" * 3]


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize(("codec", "name"), [("utf-16-le", "little-endian"), ("utf-16-be", "big-endian")])
@pytest.mark.parametrize("mark", [MARK, ""])
def test_utf_16_is_named(tmp_path, sample, codec, name, mark):
    message = refused(txt(tmp_path / "a", (mark + sample).encode(codec)))
    assert message.endswith("; convert it, e.g. with iconv")
    assert "train.txt is not UTF-8 but UTF-16" in message
    assert name in message
    assert ("without a byte-order mark" in message) == (not mark)


@pytest.mark.parametrize("codec", ["utf-32-le", "utf-32-be"])
def test_utf_32_is_no_text_either(tmp_path, codec):
    assert "train.txt is not UTF-8 but UTF-32" in refused(txt(tmp_path / "a", f"{MARK}the cat\n".encode(codec)))
    assert "train.txt holds a NUL character: line 1" in refused(txt(tmp_path / "b", "the cat\n".encode(codec)))


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.txt").symlink_to("/proc/self/mem")
    assert "train.txt cannot be read: " in refused(str(folder))
