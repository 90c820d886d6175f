"""The embedded corpus: clean, without repetition, the same at every load."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import combinations

import pytest

from cnas.data import TextConfig, TextStreams, load_text
from cnas.data.pydoc import MAX_WORDS, MIN_WORDS, load_pydoc, sentences

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def corpus():
    return load_pydoc()


def test_sentences_are_plain_words_of_the_agreed_length(corpus):
    word = re.compile(r"N|n't|'[a-z]+|[a-z]+(-[a-z]+)*")
    for sentence in (sentence for split in SPLITS for sentence in corpus[split]):
        words = sentence.split(" ")
        assert MIN_WORDS <= len(words) <= MAX_WORDS
        assert all(word.fullmatch(found) for found in words), sentence


def test_no_sentence_occurs_twice_within_or_among_splits(corpus):
    for split in SPLITS:
        assert len(set(corpus[split])) == len(corpus[split])
    for left, right in combinations(SPLITS, 2):
        assert not set(corpus[left]) & set(corpus[right])


def test_splits_are_about_90_5_5_and_large_enough_to_learn_from(corpus):
    total = sum(len(corpus[split]) for split in SPLITS)
    assert total > 5_000
    assert 0.85 < len(corpus["train"]) / total < 0.95
    assert all(0.025 < len(corpus[split]) / total < 0.075 for split in ("validation", "test"))


def test_it_reads_like_english(corpus):
    words = [word for sentence in corpus["train"] for word in sentence.split()]
    assert words.count("the") / len(words) > 0.04
    assert sum(len(word) == 1 and word not in "aN" for word in words) / len(words) < 0.01


def test_tokens_are_words_plus_lines_and_slices_start_at_the_beginning(corpus):
    full = load_text("pydoc", TextConfig())
    for split in SPLITS:
        lines = len(corpus[split])
        tokens = sum(len(sentence.split()) for sentence in corpus[split]) + lines
        assert full.splits[split] == {"sentences": lines, "tokens": tokens}
        assert len(getattr(full, split)) == tokens
    cut = load_text("pydoc", TextConfig(search_tokens=30, train_tokens=70, valid_tokens=50, test_tokens=40))
    assert [len(ids) for ids in (cut.search, cut.train, cut.validation, cut.test)] == [30, 70, 50, 40]
    assert cut.train.tolist() == full.train[:70].tolist()
    assert cut.search.tolist() == full.search[:30].tolist() == full.train[:30].tolist()
    assert (cut.splits, cut.vocabulary, cut.fingerprint) == (full.splits, full.vocabulary, full.fingerprint)
    assert TextStreams(full.train, 20).num_units == (full.splits["train"]["tokens"] // 20 - 1) // 35 * 20


def test_another_process_with_other_hash_seeds_reads_the_same_text_without_loading_datasets():
    code = "import sys; from cnas.data import *; print(load_text('pydoc', TextConfig()).fingerprint, *sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, check=True, capture_output=True, text=True
    )
    fingerprint, *modules = run.stdout.split()
    assert fingerprint == load_text("pydoc", TextConfig()).fingerprint
    assert "cnas.data.text" in modules
    assert "datasets" not in modules


@pytest.mark.parametrize(
    "paragraph",
    [
        "   while_stmt ::= the rule of a statement that is read as one.",
        ">>> This is the output of a doctest and it is not read.",
        ":param name: the name of the file that is read by it.",
        "This is a title of the page\n===========================",
        "Name          Meaning of the name in this table of names.",
        "Too short.",
        "f(x, y=1) -> [a_b, c_d]{e} is the same as g(x)[0] = 1.",
        "The simple form of this statement is equivalent to",
        "Foo bar baz qux quux corge grault garply waldo.",
        " ".join(["The word"] * 60) + ".",
    ],
)
def test_what_is_no_prose_is_dropped(paragraph):
    assert list(sentences(paragraph)) == []


def test_prose_is_cleaned_as_in_the_penn_treebank():
    paragraph = """* The user's 3 files (1,024 bytes) aren't "re-read", i.e. kept.
      Is this the second well-formed sentence?"""
    assert list(sentences(paragraph)) == [
        "the user 's N files N bytes are n't re-read ie kept",
        "is this the second well-formed sentence",
    ]
