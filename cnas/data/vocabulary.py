r"""The words a language model knows, and the ids they have; what a line is and what a word is.

One definition serves text files, tables and the tokenizer of a saved model. A line ends at ``\n``, ``\r\n`` or ``\r``,
and where a row or a file does. A word is as long a run as possible of characters that are no blanks. Other characters
that Unicode calls line breaks (form feed, ``U+0085``, ``U+2028``) are blanks within a line. So is the byte-order mark
``U+FEFF``, which is left within a text that was put together from several files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cnas.errors import UserError

UNK = "<unk>"
EOS = "<eos>"

LINE_ENDS = "\n\r"

BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What separates words: all that `str.split` takes for white space, and the byte-order mark."""

_WORD = re.compile(f"[^{BLANKS}]+")
_LINE_END = re.compile("\r\n|[\n\r]")


def lines(text: str) -> list[str]:
    r"""The lines of a text, without what ends them; what comes after the last end is a line as well.

    Example:
        >>> lines("a b\r\nc\rd\n")
        ['a b', 'c', 'd', '']
    """
    return _LINE_END.split(text)


def words(line: str) -> list[str]:
    r"""The words of a line.

    Example:
        >>> words(" the\tcat\u00a0sat ")
        ['the', 'cat', 'sat']
    """
    return _WORD.findall(line)


@dataclass(frozen=True)
class Vocabulary:
    """A fixed list of words; a word's id is its place in it.

    Args:
        words: all words, without repetition, ``<unk>`` and ``<eos>`` among them.

    Raises:
        UserError: a word is there twice, or ``<unk>`` or ``<eos>`` is not there.

    Example:
        >>> vocabulary = Vocabulary.from_sentences(["a cat", "a dog"], limit=3)
        >>> vocabulary.words
        ('<unk>', '<eos>', 'a')
        >>> vocabulary.encode(["a dog"]).tolist()
        [2, 0, 1]
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self._ids) != len(self.words):
            raise UserError(f"vocabulary lists a word twice: {Counter(self.words).most_common(1)[0][0]!r}")
        for word in (UNK, EOS):
            if word not in self._ids:
                raise UserError(f"vocabulary of {len(self.words)} words must contain {word}")

    @classmethod
    def from_sentences(cls, sentences: Iterable[str], limit: int) -> Vocabulary:
        """The most frequent words of ``sentences``; of equally frequent ones, those that occur first.

        Args:
            sentences: one sentence each, words separated by blanks.
            limit: how many words at most, ``<unk>`` and ``<eos>`` included.

        Raises:
            UserError: ``limit`` leaves no place for ``<unk>`` and ``<eos>``.
        """
        if limit < 2:
            raise UserError(f"text.vocab_size must be at least 2, for {UNK} and {EOS}, got {limit}")
        counts: Counter[str] = Counter()
        for sentence in sentences:
            counts.update(words(sentence))
        # PTB has <unk> among its words already, so the special words are taken out before they are put first.
        ranked = (word for word, _ in counts.most_common() if word not in (UNK, EOS))
        return cls((UNK, EOS, *ranked)[:limit])

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    @property
    def unk_id(self) -> int:
        """The id that unknown words get."""
        return self._ids[UNK]

    @property
    def eos_id(self) -> int:
        """The id that ends every sentence."""
        return self._ids[EOS]

    @property
    def source(self) -> tuple[str, ...]:
        """What `cnas.hub.save_model` saves the tokenizer from."""
        return self.words

    def __len__(self) -> int:
        """How many words there are."""
        return len(self.words)

    def encode(self, sentences: Iterable[str]) -> Tensor:
        """Ids of all words in order, one ``<eos>`` after each sentence: int64 [words + sentences]."""
        ids, unk, eos = self._ids, self.unk_id, self.eos_id
        found: list[int] = []
        for sentence in sentences:
            found.extend([ids.get(word, unk) for word in words(sentence)])
            found.append(eos)
        return torch.tensor(found, dtype=torch.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """The words of ``ids`` (a 1-D tensor is fine), separated by blanks."""
        return " ".join(self.words[int(index)] for index in ids)
