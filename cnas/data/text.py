"""A text corpus as token ids, whichever way it is named: embedded, a local folder, or a data set of the Hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from cnas.data._folder import read_folder
from cnas.data._hub import read_hub
from cnas.data.paths import named_folder
from cnas.data.pydoc import load_pydoc
from cnas.data.vocabulary import Vocabulary
from cnas.data.words import lines, words
from cnas.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How a text is cut: its vocabulary, the length of a chunk, and how much of each split is used.

    Raises:
        UserError: a field is too small.
    """

    vocab_size: int = 10000
    """At most this many words, <unk> and <eos> included; the most frequent ones of the training split."""

    length: int = 35
    """Tokens of a chunk: the gradient goes back that far, and a curriculum weight belongs to one chunk."""

    variable_length: bool = False
    """Train on chunks of drawn lengths, cut anew in each epoch, as DARTS does; not with a curriculum."""

    search_tokens: int | None = None
    """The search sees the first so many of the training tokens; all by default."""

    train_tokens: int | None = None
    """Use the first so many tokens of the training split; all by default."""

    valid_tokens: int | None = None
    """Use the first so many tokens of the validation split; all by default."""

    test_tokens: int | None = None
    """Use the first so many tokens of the test split; all by default."""

    def __post_init__(self) -> None:
        least = {
            "vocab_size": 3,
            "length": 2,
            "search_tokens": 2,
            "train_tokens": 2,
            "valid_tokens": 2,
            "test_tokens": 2,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise UserError(f"text.{name} must be at least {bound}, got {value}")


@dataclass(frozen=True)
class TextData:
    """A corpus in token ids.

    Args:
        name: what it is called in results; for a local folder only its last part.
        fingerprint: 16 hex digits of the sha256 of all its words in order; equal text has the same one, whatever the
            format of its files.
        vocabulary: built from the whole training split.
        train: int64 [N]; like the next ones, cut to the tokens the config asks for.
        validation: int64 [N].
        test: int64 [N].
        search: int64 [N]; the beginning of ``train`` that the search sees.
        splits: ``{"sentences": ..., "tokens": ...}`` of each split before it was cut; tokens count one ``<eos>`` per
            sentence.
    """

    name: str
    fingerprint: str
    vocabulary: Vocabulary
    train: Tensor
    validation: Tensor
    test: Tensor
    search: Tensor
    splits: dict[str, dict[str, int]]


def load_text(data: str, config: TextConfig) -> TextData:
    """Read a corpus and turn it into token ids.

    Args:
        data: ``pydoc``; else an existing folder of ``train`` / ``validation`` / ``test`` as Parquet or txt; else
            ``ptb_text_only`` or another id of the Hub.
        config: how much of it to take, and how many words to tell apart.

    Raises:
        UserError: there is no such corpus, it is out of reach, or a split cannot be used.

    Example:
        >>> text = load_text("pydoc", TextConfig(vocab_size=1000, valid_tokens=50))
        >>> len(text.vocabulary), len(text.validation)
        (1000, 50)
    """
    name, rows = _read(data)
    texts = {split: _sentences(these, f"data {data}: {split}") for split, these in rows.items()}
    vocabulary = Vocabulary.from_sentences(texts["train"], config.vocab_size)
    tokens = {split: vocabulary.encode(sentences) for split, sentences in texts.items()}
    train = tokens["train"][: config.train_tokens]
    return TextData(
        name=name,
        fingerprint=_fingerprint(texts),
        vocabulary=vocabulary,
        train=train,
        validation=tokens["validation"][: config.valid_tokens],
        test=tokens["test"][: config.test_tokens],
        search=train[: config.search_tokens],
        splits={split: {"sentences": len(texts[split]), "tokens": len(ids)} for split, ids in tokens.items()},
    )


def _read(data: str) -> tuple[str, Mapping[str, Iterable[str]]]:
    """What results call the corpus, and the rows of its splits."""
    if data == "pydoc":
        return data, load_pydoc()
    folder = named_folder(data, "data")
    if folder is not None:
        return folder.resolve().name, read_folder(folder)
    return data, read_hub(data)


def _sentences(rows: Iterable[str], where: str) -> list[str]:
    """The lines of the rows with single blanks between words; lines without a word are dropped."""
    found = (" ".join(words(line)) for row in rows for line in lines(row))
    sentences = [sentence for sentence in found if sentence]
    if not sentences:
        raise UserError(f"{where} has no words")
    return sentences


def _fingerprint(texts: Mapping[str, list[str]]) -> str:
    digest = hashlib.sha256()
    for split, sentences in texts.items():
        digest.update(f"{split} {len(sentences)}\n".encode())
        digest.update("\n".join([*sentences, ""]).encode())
    return digest.hexdigest()[:16]
