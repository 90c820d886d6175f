"""Tokenizers that cut a text: the word vocabulary, a byte-level BPE trained on the text, or any fast tokenizer.

A line is cut by itself, without the special tokens that a tokenizer would add, and followed by one end-of-text token.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from cnas.data.paths import named
from cnas.data.vocabulary import BLANKS, EOS, LINE_ENDS, Vocabulary
from cnas.errors import UserError

WORD = "word"
BYTES = 256
LARGEST = 1_000_000
"""Tokens of a BPE; memory is reserved for them before it is trained."""
LINES = 10_000
"""Cut at a time: what a tokenizer notes beside the ids takes much more memory than they do."""
FAST = "fast:"
"""How a tokenizer that was brought along is called; the rest is its fingerprint."""
ENDS = (EOS, "</s>", "<|endoftext|>", "<|im_end|>")
"""Tokens that end a text, looked for where a ``tokenizer.json`` alone does not say which one does."""


class TokenCodec(Protocol):
    """What turns lines into token ids and back."""

    @property
    def eos_id(self) -> int:
        """The id that ends every line."""

    @property
    def source(self) -> Any:
        """What `cnas.hub.save_model` saves the tokenizer from: the words, or the fast tokenizer itself."""

    def __len__(self) -> int:
        """How many tokens there are."""

    def encode(self, sentences: Iterable[str]) -> Tensor:
        """Ids of all tokens in order, that of the end after each line: int64 [tokens]."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids`` (a 1-D tensor is fine)."""


class FastCodec:
    """A fast tokenizer as a `TokenCodec`.

    Args:
        tokenizer: a `transformers.PreTrainedTokenizerFast`; it is left as it is.

    Raises:
        UserError: it is of another kind, has no end-of-text token, or its ids have gaps.
    """

    def __init__(self, tokenizer: Any) -> None:
        from transformers import PreTrainedTokenizerFast

        kind = type(tokenizer).__name__
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise UserError(f"tokenizer must be a fast tokenizer (PreTrainedTokenizerFast), got {kind}")
        if tokenizer.eos_token_id is None:
            raise UserError(f"tokenizer must have an eos_token, which ends every line, got {kind} without one")
        if max(tokenizer.get_vocab().values()) + 1 != len(tokenizer):
            raise UserError(f"tokenizer must have ids from 0 without gaps, got {kind} with {len(tokenizer)} tokens")
        self.source = copy.deepcopy(tokenizer)

    @property
    def eos_id(self) -> int:
        """The id that ends every line."""
        return int(self.source.eos_token_id)

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the sha256 of its ``tokenizer.json``."""
        return hashlib.sha256(self.source.backend_tokenizer.to_str().encode()).hexdigest()[:16]

    def __len__(self) -> int:
        """How many tokens there are, those that were added and special ones included."""
        return len(self.source)

    def encode(self, sentences: Iterable[str]) -> Tensor:
        """Ids of all tokens in order, that of the end after each line: int64 [tokens]."""
        found, lines = [], [*sentences]
        for start in range(0, len(lines), LINES):
            rows = self.source(lines[start : start + LINES], add_special_tokens=False, verbose=False)["input_ids"]
            found.append(torch.tensor([id for row in rows for id in (*row, self.eos_id)], dtype=torch.int64))
        return torch.cat(found)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids`` (a 1-D tensor is fine)."""
        return str(self.source.decode([int(id) for id in ids], clean_up_tokenization_spaces=False)).strip()


def bpe_size(name: str) -> int | None:
    """The size that ``bpe:4096`` names; None for a tokenizer of another kind.

    Raises:
        UserError: it is no number, or none from 257 (all bytes and the end of a line) to 1,000,000.

    Example:
        >>> bpe_size("bpe:4096"), bpe_size("word")
        (4096, None)
    """
    kind, _, size = name.partition(":")
    if kind != "bpe":
        return None
    if not re.fullmatch("[0-9]{1,7}", size) or not BYTES < int(size) <= LARGEST:
        raise UserError(f"text.tokenizer must be bpe: and a size from {BYTES + 1} to {LARGEST:,}, got {name!r}")
    return int(size)


def build_codec(name: str, sentences: Sequence[str], words: int, tokenizer: Any = None) -> tuple[TokenCodec, str]:
    """The tokenizer of a run, and what its results call it.

    Args:
        name: ``word``, ``bpe:4096``, or the folder or file of a fast tokenizer.
        sentences: of the training split.
        words: at most so many are told apart, for ``word``.
        tokenizer: a fast tokenizer in place of the named one.

    Raises:
        UserError: there is no such tokenizer, or it cannot be used.
    """
    if tokenizer is None and name == WORD:
        return Vocabulary.from_sentences(sentences, words), WORD
    if tokenizer is None and (size := bpe_size(name)) is not None:
        return FastCodec(train_bpe(sentences, size)), name
    if tokenizer is None and name.startswith(FAST):
        raise UserError(f"text.tokenizer {name!r:.60} was one of a Python script: give it there, as processing_class")
    codec = FastCodec(_saved(name) if tokenizer is None else tokenizer)
    return codec, FAST + codec.fingerprint


def train_bpe(sentences: Iterable[str], size: int) -> Any:
    r"""A byte-level BPE trained on lines; equal lines give equal tokenizers.

    As in training, the end of a line in a user's text becomes ``<eos>``, and a run of blanks one blank.

    Args:
        sentences: of the training split.
        size: how many tokens at most, ``<eos>`` and the 256 bytes included.

    Returns:
        A `transformers.PreTrainedTokenizerFast`.

    Example:
        >>> tokenizer = train_bpe(["the cat", "the dog"], 260)
        >>> tokenizer.convert_ids_to_tokens(tokenizer.encode("the\nthe"))
        ['Ġthe', '<eos>', 'Ġthe']
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    end = AddedToken(EOS, normalized=True, special=True)  # looked for in the text after its ends of lines are replaced
    replaced = {f"[{BLANKS}]*[{LINE_ENDS}][{BLANKS}]*": EOS, f"[{BLANKS}]+\\z": "", f"[{BLANKS}]+": " "}
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.Sequence([normalizers.Replace(Regex(old), new) for old, new in replaced.items()])
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[end], initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(sentences, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=end,
        eos_token=end,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def _saved(name: str) -> Any:
    """The fast tokenizer of a folder or a ``tokenizer.json``."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    place = named(name)
    if place is None:
        raise UserError(f"text.tokenizer must be {WORD}, bpe:SIZE, or a folder or file of a tokenizer, got {name!r}")
    folder = place if place.is_dir() else place.parent
    file = folder / "tokenizer.json" if place.is_dir() else place
    if not file.is_file():
        raise UserError(f"text.tokenizer {name!r} holds no fast tokenizer: there is no tokenizer.json")
    try:
        if file.name == "tokenizer.json" and (folder / "tokenizer_config.json").is_file():
            return PreTrainedTokenizerFast.from_pretrained(folder)
        backend = Tokenizer.from_file(str(file))
    except Exception as problem:  # the parsers raise what they like
        raise UserError(f"text.tokenizer {name!r} cannot be read: {' '.join(str(problem).split()):.160}") from problem
    end = next((token for token in ENDS if backend.token_to_id(token) is not None), None)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end)
