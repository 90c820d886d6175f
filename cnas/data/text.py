"""A text corpus as token ids: embedded, of a local folder, of the Hub, or a `datasets.Dataset` in memory."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cnas.data.dataset_tables import IN_MEMORY, OBJECT, check_named, evaluation_table, hub_tables, object_tables
from cnas.data.paths import named_folder
from cnas.data.pydoc import load_pydoc
from cnas.data.tables import SPLITS, Table, missing, parquet_files, parquet_names, parquet_tables, the_one
from cnas.data.tokenizers import WORD, TokenCodec, bpe_size, build_codec
from cnas.data.vocabulary import lines, words
from cnas.errors import UserError
from cnas.fields import RemembersGiven

NUL = "\0"
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32 (little-endian)",
    codecs.BOM_UTF32_BE: "UTF-32 (big-endian)",
    codecs.BOM_UTF16_LE: "UTF-16 (little-endian)",
    codecs.BOM_UTF16_BE: "UTF-16 (big-endian)",
}
"""By what a file begins with; the mark of UTF-16 begins that of UTF-32, so the longer ones come first."""
_SHARE = 50
"""Text has a blank or another character below 256 more often than every so many characters."""
COLUMNS = ("sentence", "text", "content")
"""Where the text of a table is looked for, in this order."""
_IDS = {"ptb_text_only": "ptb-text-only/ptb_text_only"}
"""Short names of data sets on the Hub."""


@dataclass(frozen=True, kw_only=True)
class TextConfig(RemembersGiven):
    """How a text is cut: its tokenizer, the length of a chunk, and how much of each split is used.

    Raises:
        UserError: a field is too small, or of another type.
    """

    tokenizer: str = WORD
    """``word``: the most frequent words of the training split; ``bpe:4096``: a byte-level BPE of so many tokens that is
    trained on it; or a folder or ``tokenizer.json`` of a saved fast tokenizer."""

    text_column: str | None = None
    """Of a table, the column of the text; by default ``sentence``, ``text`` or ``content``."""

    vocab_size: int = 10000
    """At most this many words, <unk> and <eos> included, for the tokenizer ``word``."""

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
        super().__post_init__()
        for name in ("vocab_size", "length", "search_tokens", "train_tokens", "valid_tokens", "test_tokens"):
            value, bound = getattr(self, name), 3 if name == "vocab_size" else 2
            if value is not None and value < bound:
                raise UserError(f"text.{name} must be at least {bound}, got {value}")
        bpe_size(self.tokenizer)


@dataclass(frozen=True)
class TextData:
    """A corpus in token ids.

    Args:
        name: what it is called in results; for a local folder only its last part, for data in memory ``dataset:`` and
            its fingerprint.
        fingerprint: 16 hex digits of the sha256 of all its words in order; equal text has the same one, whatever the
            format of its files.
        vocabulary: the tokens and their ids; a `Vocabulary` unless another tokenizer was asked for.
        train: int64 [N]; like the next ones, cut to the tokens the config asks for.
        validation: int64 [N].
        test: int64 [N]; None where the data has no test split.
        search: int64 [N]; the beginning of ``train`` that the search sees.
        splits: ``{"sentences": ..., "tokens": ...}`` of each split before it was cut; tokens count one ``<eos>`` per
            sentence. Where tokens are no words, ``"words"`` and ``"bytes"`` too, one end per sentence included.
        tokenizer: what cut the text: ``word``, ``bpe:`` and a size, or ``fast:`` and a fingerprint.
    """

    name: str
    fingerprint: str
    vocabulary: TokenCodec
    train: Tensor
    validation: Tensor
    test: Tensor | None
    search: Tensor
    splits: dict[str, dict[str, int]]
    tokenizer: str = WORD


def load_text(data: Any, config: TextConfig, *, eval_dataset: Any = None, tokenizer: Any = None) -> TextData:
    """Read a corpus and turn it into token ids.

    Args:
        data: ``pydoc``; else an existing folder of ``train`` / ``validation`` / ``test`` as Parquet or txt; else
            ``ptb_text_only`` or another id of the Hub. Or a `datasets.Dataset` to train on, or a `DatasetDict`. In all
            of them ``test`` may be absent.
        config: how much of it to take, and how it is cut into tokens.
        eval_dataset: beside data in memory: a `Dataset` to validate on, or a `DatasetDict` with ``validation`` and
            ``test``.
        tokenizer: a `transformers.PreTrainedTokenizerFast` in place of the one of ``config``.

    Raises:
        UserError: there is no such corpus, it is out of reach, or a split cannot be used.

    Example:
        >>> text = load_text("pydoc", TextConfig(vocab_size=1000, valid_tokens=50))
        >>> len(text.vocabulary), len(text.validation)
        (1000, 50)
    """
    name, rows = _read(data, eval_dataset, config.text_column)
    where = data if isinstance(data, str) else name
    texts = {split: _sentences(these, f"data {where}: {split}") for split, these in rows.items()}
    fingerprint = _fingerprint(texts)
    vocabulary, cut_by = build_codec(config.tokenizer, texts["train"], config.vocab_size, tokenizer)
    tokens = {split: vocabulary.encode(sentences) for split, sentences in texts.items()}
    train = tokens["train"][: config.train_tokens]
    return TextData(
        name=name if isinstance(data, str) else OBJECT + fingerprint,
        fingerprint=fingerprint,
        vocabulary=vocabulary,
        train=train,
        validation=tokens["validation"][: config.valid_tokens],
        test=tokens["test"][: config.test_tokens] if "test" in tokens else None,
        search=train[: config.search_tokens],
        splits={split: _sizes(texts[split], ids, cut_by) for split, ids in tokens.items()},
        tokenizer=cut_by,
    )


def read_evaluation(data: Any, config: TextConfig, vocabulary: TokenCodec) -> Tensor:
    """The token ids of other text, all of it, cut into tokens as a run's own: int64 [N].

    Args:
        data: a name or path, of which the validation split is read; a `datasets.Dataset`; or a `DatasetDict`, of which
            the validation split is read, or the test split where there is none.
        config: of the run.
        vocabulary: of the run.

    Raises:
        UserError: as `load_text`.
    """
    rows: Iterable[str]
    if isinstance(data, str):
        rows = _read(data, None, config.text_column, needed=("validation",))[1]["validation"]
    else:
        rows = _text_rows(evaluation_table(data), config.text_column)
    return vocabulary.encode(_sentences(rows, "eval_dataset"))


def _sizes(sentences: list[str], ids: Tensor, cut_by: str) -> dict[str, int]:
    sizes = {"sentences": len(sentences), "tokens": len(ids)}
    if cut_by == WORD:
        return sizes
    return sizes | {
        "words": sum(len(words(each)) + 1 for each in sentences),
        "bytes": sum(len(each.encode()) + 1 for each in sentences),
    }


def _read(
    data: Any, eval_dataset: Any, column: str | None, needed: Collection[str] = ("train", "validation")
) -> tuple[str, Mapping[str, Iterable[str]]]:
    """What results call the corpus, and the rows of its splits: those that are needed, and those that are there."""
    if not isinstance(data, str):
        tables = object_tables(data, eval_dataset)
        if "validation" not in tables:
            raise UserError("train_dataset has no validation split; give it one, or eval_dataset")
        return IN_MEMORY, {split: _text_rows(table, column) for split, table in tables.items()}
    check_named(data, eval_dataset)
    folder = None if data == "pydoc" else named_folder(data, "data")
    parquet = {} if folder is None else parquet_files(folder)
    if column is not None and (data == "pydoc" or (folder is not None and not parquet)):
        raise UserError(f"text.text_column must be none: data {data} has no columns, got {column!r:.60}")
    if data == "pydoc":
        return data, load_pydoc()
    if folder is None:
        files = "Parquet or txt files (train, validation, test)"
        tables = hub_tables(data, _IDS.get(data, data), known="pydoc, ptb_text_only", files=files, needed=needed)
    elif parquet:
        tables = parquet_tables(folder, parquet, needed=needed)
    else:
        texts = {split: _read_txt(folder, split, needed=split in needed) for split in SPLITS}
        return folder.resolve().name, {split: [text] for split, text in texts.items() if text is not None}
    rows = {split: _text_rows(tables[split], column) for split in SPLITS if split in tables}
    return data if folder is None else folder.resolve().name, rows


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


def _text_rows(table: Table, chosen: str | None) -> list[str]:
    """The text column of one split; a row without a text is empty.

    Raises:
        UserError: no such column, or what is in it is no text, or holds a NUL.
    """
    column, where = table.column("text", COLUMNS, chosen), table.where
    found = []
    for number, record in enumerate(table.records([column])):
        row = record[column]
        if row is not None and not isinstance(row, str):
            raise UserError(f"{where}: column {column} must hold text, got {type(row).__name__}")
        if row and NUL in row:
            raise UserError(f"{where}: row {number} (from 0) holds a NUL character, at offset {row.index(NUL)}")
        found.append(row or "")
    return found


def _read_txt(folder: Path, split: str, *, needed: bool) -> str | None:
    """The text of a split's file; None where there is none and none is needed."""
    names = [f"{prefix}{name}.txt" for name in SPLITS[split] for prefix in ("ptb.", "")]
    chosen = the_one([name for name in names if (folder / name).is_file()], split, f"data folder {folder}")
    if chosen is None and not needed:
        return None
    if chosen is None:
        raise missing(folder, split, [*names, *parquet_names(split)])
    file = folder / chosen
    try:
        content = file.read_bytes()
    except OSError as problem:
        raise UserError(f"{file} cannot be read: {problem.strerror}") from problem
    if not content:
        raise UserError(f"{file} is empty")
    return _decoded(content, file)


def _decoded(content: bytes, file: Path) -> str:
    """The text of a file.

    Args:
        content: all its bytes.
        file: for messages.

    Raises:
        UserError: the bytes are no UTF-8, or there is a NUL among them; the message says where.
    """
    other = next((kind for mark, kind in _MARKS.items() if content.startswith(mark)), None) or _unmarked(content)
    if other is not None:
        raise UserError(f"{file} is not UTF-8 but {other}; convert it, e.g. with iconv")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8: {_place(content, error.start)}") from error
    if NUL in text:
        raise UserError(f"{file} holds a NUL character: {_place(content, content.index(0))}")
    return text


def _unmarked(content: bytes) -> str | None:
    """What the bytes are, if they look like UTF-16 without a mark: every second one is often 0, the others never."""
    first, second = content[::2].count(0), content[1::2].count(0)
    if min(first, second) > 0 or max(first, second) * 2 * _SHARE < len(content) or max(first, second) < 2:
        return None
    return f"UTF-16 ({'big' if first else 'little'}-endian, without a byte-order mark)"


def _place(content: bytes, offset: int) -> str:
    before = content[:offset].decode(errors="replace")
    return f"line {len(lines(before))}, byte offset {offset}"
