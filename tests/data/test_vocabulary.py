"""The vocabulary: frequency first, then first occurrence; the special words once and always."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.data import Vocabulary
from cnas.errors import UserError

words = st.sampled_from(["a", "b", "c", "d", "e", "<unk>", "<eos>"])
corpora = st.lists(st.lists(words, max_size=6).map(" ".join), max_size=12)
law = settings(derandomize=True, deadline=None, max_examples=60)


@law
@given(corpus=corpora, limit=st.integers(2, 9))
def test_the_most_frequent_words_are_kept_ties_by_first_occurrence(corpus, limit):
    vocabulary = Vocabulary.from_sentences(corpus, limit)
    flat = [word for sentence in corpus for word in sentence.split() if word not in ("<unk>", "<eos>")]
    ranked = sorted(set(flat), key=lambda word: (-Counter(flat)[word], flat.index(word)))
    assert vocabulary.words == ("<unk>", "<eos>", *ranked)[:limit]
    assert vocabulary.words[vocabulary.unk_id] == "<unk>"
    assert vocabulary.words[vocabulary.eos_id] == "<eos>"


@law
@given(corpus=corpora, limit=st.integers(2, 9))
def test_tokens_are_words_plus_sentences(corpus, limit):
    vocabulary = Vocabulary.from_sentences(corpus, limit)
    ids = vocabulary.encode(corpus)
    assert ids.dtype == torch.int64
    assert len(ids) == sum(len(sentence.split()) for sentence in corpus) + len(corpus)
    known = [w if w in vocabulary.words else "<unk>" for s in corpus for w in [*s.split(), "<eos>"]]
    assert vocabulary.decode(ids) == " ".join(known)


def test_words_in_any_order_may_be_given_and_are_compared_by_value():
    vocabulary = Vocabulary(("b", "<eos>", "<unk>"))
    assert vocabulary.encode(["b z"]).tolist() == [0, 2, 1]
    assert (len(vocabulary), vocabulary) == (3, Vocabulary(("b", "<eos>", "<unk>")))


@pytest.mark.parametrize(
    ("given_words", "message"),
    [
        (("a", "a", "<unk>", "<eos>"), "twice: 'a'"),
        (("a", "<unk>"), "of 2 words must contain <eos>"),
        (("a", "<eos>"), "of 2 words must contain <unk>"),
    ],
)
def test_bad_word_lists_are_refused(given_words, message):
    with pytest.raises(UserError, match=message):
        Vocabulary(given_words)


def test_a_limit_without_room_for_the_special_words_is_refused():
    with pytest.raises(UserError, match=r"text\.vocab_size must be at least 2, .* got 1"):
        Vocabulary.from_sentences(["a"], limit=1)
