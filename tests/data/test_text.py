"""Corpora from folders and from the Hub: the same text gives the same tokens, and what is wrong is said in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch

from cnas.data import TextConfig, TextStreams, load_text
from cnas.data.text import read_evaluation
from cnas.errors import UserError

CNAS_DATA = os.environ.get("CNAS_DATA")
ROWS = {
    "train": ["the cat sat", " the  dog sat ", "", "a cat and a dog"],
    "validation": ["the cat and the bird"],
    "test": ["a dog sat", "the bird sat"],
}


def write_parquet(folder: Path, column: str = "sentence", rows=ROWS, name: str = "{}.parquet") -> Path:
    folder.mkdir(exist_ok=True)
    for split, lines in rows.items():
        datasets.Dataset.from_dict({"id": list(range(len(lines))), column: lines}).to_parquet(
            folder / name.format(split)
        )
    return folder


def write_txt(folder: Path, name: str = "{}.txt", end: str = "\n", rows=ROWS) -> Path:
    folder.mkdir(exist_ok=True)
    for split, lines in rows.items():
        (folder / name.format(split)).write_bytes("".join(line + end for line in lines).encode())
    return folder


def refused(data: str | Path) -> str:
    """The message with which a corpus is refused: one line, exit code 2."""
    with pytest.raises(UserError) as caught:
        load_text(str(data), TextConfig())
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def test_a_folder_is_read_by_its_words(tmp_path):
    text = load_text(str(write_txt(tmp_path / "mine")), TextConfig())
    assert text.name == "mine"
    assert text.splits["train"] == {"sentences": 3, "tokens": 14}
    assert text.vocabulary.words == ("<unk>", "<eos>", "the", "cat", "sat", "dog", "a", "and")
    assert text.vocabulary.decode(text.validation) == "the cat and the <unk> <eos>"


def test_the_same_text_is_the_same_corpus_in_every_format(tmp_path):
    reference = load_text(str(write_txt(tmp_path / "txt")), TextConfig())
    folders = [
        write_txt(tmp_path / "mikolov", "ptb.{}.txt"),
        write_txt(tmp_path / "windows", end="  \r\n"),
        write_parquet(tmp_path / "parquet"),
        write_parquet(tmp_path / "text", "text", name="{}-00000-of-00001.parquet"),
        write_parquet(tmp_path / "content", "content"),
        write_parquet(tmp_path / "nulls", rows={split: [None, *lines, None] for split, lines in ROWS.items()}),
    ]
    (folders[0] / "ptb.validation.txt").rename(folders[0] / "ptb.valid.txt")
    for folder in folders:
        text = load_text(str(folder), TextConfig())
        assert text.fingerprint == reference.fingerprint, folder.name
        assert text.splits == reference.splits
        for split in ("train", "validation", "test", "search"):
            assert torch.equal(getattr(text, split), getattr(reference, split))


def test_the_fingerprint_tells_texts_and_splits_apart(tmp_path):
    swapped = {"train": ROWS["train"], "validation": ROWS["test"], "test": ROWS["validation"]}
    changed = {**ROWS, "test": ["a dog sat", "the bird sits"]}
    found = {
        load_text(str(write_txt(tmp_path / str(index), rows=rows)), TextConfig()).fingerprint
        for index, rows in enumerate([ROWS, swapped, changed])
    }
    assert len(found) == 3


def test_the_pydoc_corpus_survives_a_round_trip_through_files(tmp_path):
    from cnas.data.pydoc import load_pydoc

    rows = {split: list(sentences) for split, sentences in load_pydoc().items()}
    reference = load_text("pydoc", TextConfig())
    for folder in (write_txt(tmp_path / "txt", rows=rows), write_parquet(tmp_path / "parquet", rows=rows)):
        text = load_text(str(folder), TextConfig())
        assert (text.fingerprint, text.vocabulary) == (reference.fingerprint, reference.vocabulary)
        assert torch.equal(text.train, reference.train)


def test_a_missing_split_names_the_files_that_were_looked_for(tmp_path):
    (write_txt(tmp_path / "a") / "validation.txt").unlink()
    message = refused(tmp_path / "a")
    assert "no validation split" in message
    assert all(name in message for name in ("ptb.validation.txt", "ptb.valid.txt", "valid.txt", "validation.parquet"))
    (write_parquet(tmp_path / "b") / "train.parquet").unlink()
    assert "no train split: looked for train.parquet, train-*.parquet" in refused(tmp_path / "b")


@pytest.mark.parametrize("write", [write_txt, write_parquet])
def test_a_test_split_is_not_needed(tmp_path, write):
    folder = write(tmp_path / "a")
    next(folder.glob("test.*")).unlink()
    text = load_text(str(folder), TextConfig())
    assert text.test is None
    assert [*text.splits] == ["train", "validation"]


def test_of_what_is_evaluated_on_the_validation_split_is_enough(tmp_path):
    folder = write_txt(tmp_path / "a")
    text = load_text(str(folder), TextConfig())
    (folder / "train.txt").unlink()
    assert torch.equal(read_evaluation(str(folder), TextConfig(), text.vocabulary), text.validation)


def test_empty_files_and_splits_without_words_are_refused(tmp_path):
    (write_txt(tmp_path / "a") / "test.txt").write_bytes(b"")
    assert "test.txt is empty" in refused(tmp_path / "a")
    (write_txt(tmp_path / "b") / "test.txt").write_bytes(b" \n\n")
    assert "test has no words" in refused(tmp_path / "b")
    (write_parquet(tmp_path / "c") / "train.parquet").write_bytes(b"")
    assert "train.parquet is empty" in refused(tmp_path / "c")
    assert "test has no words" in refused(write_parquet(tmp_path / "d", rows={**ROWS, "test": [" "]}))


def test_text_that_is_not_utf8_is_refused_with_its_place(tmp_path):
    (write_txt(tmp_path / "a") / "train.txt").write_bytes("ein Wort\nm\u00fcde ".encode() + b"\xff\xfe\n")
    assert "train.txt is not UTF-8: line 2, byte offset 15" in refused(tmp_path / "a")


def test_tables_without_text_are_refused(tmp_path):
    message = refused(write_parquet(tmp_path / "a", "words"))
    assert "one of sentence, text, content is needed, found ['id', 'words']" in message
    numbers = {split: [1, 2] for split in ROWS}
    assert "column text must hold text, got int" in refused(write_parquet(tmp_path / "b", "text", numbers))
    (write_parquet(tmp_path / "c") / "train.parquet").write_bytes(b"no parquet at all")
    assert "train.parquet cannot be read as Parquet: it is broken" in refused(tmp_path / "c")


@pytest.mark.parametrize("data", ["", "ptb", "./missing/folder/here", "a/b/c", "~nobody-here/x/y", "x" * 5000, "\0"])
def test_unknown_names_are_refused_with_what_is_allowed(data):
    message = refused(data)
    assert message == f"data must be pydoc, ptb_text_only, an existing folder or a Hub id (owner/name), got {data!r}"


class Hub:
    """Stands in for `datasets.load_dataset`: fails as told, then answers with the rows."""

    def __init__(self, *failures: Exception, rows=ROWS):
        self.failures, self.calls = list(failures), []
        self.tables = datasets.DatasetDict(
            {split: datasets.Dataset.from_dict({"sentence": lines}) for split, lines in rows.items()}
        )

    def __call__(self, *args, **kwargs):
        self.calls.append((args, kwargs))
        if self.failures:
            raise self.failures.pop(0)
        return self.tables


SCRIPT = RuntimeError("Dataset scripts are no longer supported, but found x.py")


def test_the_penn_treebank_is_asked_for_as_parquet_without_a_config_name(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "load_dataset", hub := Hub())
    text = load_text("ptb_text_only", TextConfig())
    assert hub.calls == [(("ptb-text-only/ptb_text_only",), {"revision": "refs/convert/parquet"})]
    assert text.name == "ptb_text_only"
    monkeypatch.undo()
    assert text.fingerprint == load_text(str(write_txt(tmp_path / "txt")), TextConfig()).fingerprint


def test_a_data_set_with_a_script_is_asked_for_again_as_parquet(monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", hub := Hub(SCRIPT))
    assert load_text("some/script", TextConfig()).splits["test"] == {"sentences": 2, "tokens": 8}
    assert hub.calls == [(("some/script",), {"revision": revision}) for revision in (None, "refs/convert/parquet")]


@pytest.mark.parametrize(
    ("failures", "message"),
    [
        ([RuntimeError("something\nelse")], "data some/name cannot be loaded: something else"),
        ([SCRIPT, ValueError("no such revision")], "data some/name cannot be loaded: no such revision"),
        ([ValueError("Config name is missing.")], "data some/name cannot be loaded: Config name is missing."),
        ([ConnectionError("down")], "HF_HUB_OFFLINE=1"),
        ([datasets.exceptions.DatasetNotFoundError("no")], "neither an existing folder nor within reach"),
    ],
)
def test_what_the_hub_answers_is_said_in_one_line(monkeypatch, failures, message):
    monkeypatch.setattr(datasets, "load_dataset", Hub(*failures))
    assert message in refused("some/name")


def test_a_data_set_without_a_split_is_refused(monkeypatch):
    rows = {"train": ROWS["train"], "eval": ROWS["test"]}
    monkeypatch.setattr(datasets, "load_dataset", Hub(rows=rows))
    assert "data some/name has no validation split" in refused("some/name")


def test_without_network_both_ways_out_are_named_at_once(tmp_path):
    code = "from cnas.data import *\ntry: load_text('ptb_text_only', TextConfig())\nexcept ValueError as e: print(e)"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True, timeout=300)
    assert run.stdout.count("\n") == 1
    assert "folder of Parquet or txt files (train, validation, test) as --data" in run.stdout
    assert "HF_HUB_OFFLINE=1 then reads it from the cache" in run.stdout


@pytest.mark.parametrize(
    ("field", "value", "least"),
    [("length", 1, 2), ("vocab_size", 2, 3), ("search_tokens", 0, 2), ("train_tokens", -1, 2), ("test_tokens", 1, 2)],
)
def test_fields_that_are_too_small_are_refused(field, value, least):
    with pytest.raises(UserError, match=rf"^text\.{field} must be at least {least}, got {value}$"):
        TextConfig(**{field: value})


@pytest.fixture(scope="module")
def ptb():
    return load_text(str(Path(CNAS_DATA or "") / "ptb_text_only"), TextConfig())


@pytest.mark.skipif(not CNAS_DATA, reason="CNAS_DATA, the folder that holds ptb_text_only, is not set")
class TestPennTreebank:
    def test_sizes(self, ptb):
        assert ptb.name == "ptb_text_only"
        assert ptb.splits == {
            "train": {"sentences": 42_068, "tokens": 929_589},
            "validation": {"sentences": 3_370, "tokens": 73_760},
            "test": {"sentences": 3_761, "tokens": 82_430},
        }
        assert len(ptb.vocabulary) == 10_000
        assert (len(ptb.train), len(ptb.search)) == (929_589, 929_589)

    def test_nothing_is_unknown_but_what_the_corpus_calls_so(self, ptb):
        words = ptb.vocabulary.decode(ptb.test).split()
        assert len(words) == 82_430
        assert ptb.test.max() < 10_000
        assert (ptb.test == ptb.vocabulary.eos_id).sum() == 3_761

    @pytest.mark.parametrize(
        ("batch_size", "chunks", "units"),
        [(20, 1327, 26_540), (64, 414, 26_496), (128, 207, 26_496), (256, 103, 26_368)],
    )
    def test_chunks(self, ptb, batch_size, chunks, units):
        streams = TextStreams(ptb.train, batch_size)
        assert (len(streams), streams.num_units) == (chunks, units)

    def test_every_token_of_the_test_split_is_predicted_once(self, ptb):
        streams = TextStreams(ptb.test, 1, start=ptb.vocabulary.eos_id, tail="keep")
        labels = [streams.batch(index, slice(0, 1)).labels[0] for index in range(len(streams))]
        assert torch.equal(torch.cat(labels), ptb.test)
