"""One definition of line and word, which Python and the tokenizer's regular expressions both obey."""

import sys

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, normalizers

from cnas.data.vocabulary import BLANKS, LINE_ENDS, lines, words

MARK = "\ufeff"
EVERY = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
law = settings(derandomize=True, deadline=None, max_examples=200)
letters = st.one_of(st.sampled_from(["a", "<unk>", *BLANKS]), st.characters(exclude_categories=["Cs"]))
text = st.lists(letters, max_size=12).map("".join)


def test_blanks_are_what_python_takes_for_white_space_and_the_mark():
    assert set(BLANKS) == {each for each in EVERY if each.isspace()} | {MARK}
    assert len(BLANKS) == len(set(BLANKS))
    assert set(LINE_ENDS) <= set(BLANKS)


def test_the_tokenizer_takes_the_same_characters_for_blanks():
    kept = normalizers.Replace(Regex(f"[{BLANKS}]"), "").normalize_str("".join(EVERY))
    assert kept == "".join(each for each in EVERY if each not in BLANKS)


@law
@given(text)
def test_words_are_those_of_str_split(line):
    assert words(line) == line.replace(MARK, " ").split()


@law
@given(text)
def test_lines_are_those_of_universal_newlines(line):
    assert lines(line) == line.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert [word for each in lines(line) for word in words(each)] == words(line)
