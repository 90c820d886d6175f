import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from cnas.data import Vocabulary
from cnas.errors import UserError
from cnas.hub import build_tokenizer

WORDS = ("<unk>", "<eos>", "the", "N", "n", "n't", "mr.", "c++", "a*b", "u.s.", "\\/", "é")
SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)

ODD = ("x<unk>", ".<unk>", "<eos>s", "<eos>.", "<unk><unk>", "<unk>,<eos>")
tokens = st.sampled_from([*WORDS, *ODD, "dog", "..", "n'", "3"])
blanks = st.sampled_from([" ", "  ", "\t", "\u00a0", " \x1c", "\ufeff"])


def test_lines_get_the_training_ids():
    assert build_tokenizer(["<unk>", "<eos>", "a", "b", "c"]).encode("a b\nc\n") == [2, 3, 1, 4, 1]


@SETTINGS
@given(st.lists(st.lists(tokens, min_size=1, max_size=5), min_size=1, max_size=4), blanks)
def test_text_line_by_line_is_what_the_vocabulary_says(sentences, blank):
    text = "".join(f" {blank.join(sentence)} \n" for sentence in sentences)
    expected = Vocabulary(WORDS).encode([" ".join(sentence) for sentence in sentences])
    assert build_tokenizer(WORDS).encode(text) == expected.tolist()


@pytest.mark.parametrize("cased", [["N"], ["N", "NASA", "McX"], [f"Word{index}" for index in range(40)]])
def test_every_word_is_itself(cased):
    words = ["<unk>", "<eos>", "n", "nasa", "it's", "a.b.", "$", "\\*\\*", *cased]
    tokenizer = build_tokenizer(words)
    assert tokenizer.encode(" ".join(words)) == list(range(len(words)))
    assert tokenizer.encode("\n".join(words))[::2] == list(range(len(words)))


def test_a_prompt_with_capitals_is_understood():
    tokenizer = build_tokenizer(WORDS)
    assert tokenizer.encode("The N MR. N. <UNK>") == [2, 3, 6, 0, 0]


def test_a_cased_vocabulary_keeps_capitals_apart():
    words = ["<unk>", "<eos>", "the", *(f"Name{index}" for index in range(20))]
    assert build_tokenizer(words).encode("The the name3 Name3") == [0, 2, 0, 6]


def test_blank_lines_add_nothing():
    assert build_tokenizer(WORDS).encode("the\r\n \n\n n") == [2, 1, 4]


def test_a_special_word_within_another_is_a_word_of_its_own():
    words = ["<unk>", "<eos>", "(<unk>)", "<eos>."]
    tokenizer = build_tokenizer(words)
    assert tokenizer.encode(" ".join(words)) == [0, 1, 2, 3]
    assert tokenizer.decode([2, 3, 0]) == " (<unk>) <eos>. <unk>"
    assert tokenizer.decode([2, 0, 3], skip_special_tokens=True) == " (<unk>) <eos>."


@SETTINGS
@given(st.lists(st.integers(0, len(WORDS) - 1), max_size=12))
def test_decoding_puts_a_blank_before_every_word_and_can_be_undone(ids):
    tokenizer = build_tokenizer(WORDS)
    text = tokenizer.decode(ids)
    assert text == "".join(f" {WORDS[index]}" for index in ids)
    assert tokenizer.encode(text) == ids


def test_survives_save_and_load(tmp_path):
    tokenizer = build_tokenizer(WORDS)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    text = "The c++ N\nu.s. x<unk> é\n"
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert loaded.special_tokens_map == tokenizer.special_tokens_map
    assert (loaded.unk_token_id, loaded.eos_token_id, loaded.pad_token_id, loaded.bos_token_id) == (0, 1, 12, 1)
    assert loaded.padding_side == "right"
    assert loaded.decode([2, 1]) == tokenizer.decode([2, 1]) == " the <eos>"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["<unk>", "<eos>", "a", "a"], "twice: 'a'"),
        (["<unk>", "<eos>", "a b"], "'a b'"),
        (["<unk>", "<eos>", ""], "''"),
        (["<unk>", "a"], "must contain <eos>"),
        (["<eos>"], "must contain <unk>"),
    ],
)
def test_refuses_what_cannot_be_a_vocabulary(words, message):
    with pytest.raises(UserError, match=message):
        build_tokenizer(words)
