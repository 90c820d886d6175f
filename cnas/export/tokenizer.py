"""The word-level tokenizer that gives a user's text the ids the network was trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import Replace as Prefix
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase, Normalizer, Replace
from tokenizers.normalizers import Sequence as Chain
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from cnas.errors import UserError

CASED_WORDS = 8
"""Up to so many words with capitals (PTB has one, ``N``), a vocabulary counts as lower-case."""


def build_tokenizer(words: Sequence[str], unk: str = "<unk>", eos: str = "<eos>") -> PreTrainedTokenizerFast:
    r"""A tokenizer whose ids are places in ``words``.

    Text is split at white space alone, so ``n't``, ``mr.`` and ``<unk>`` stay whole. A line break is ``eos``; blank
    lines add nothing. A word of the vocabulary is always itself; where nearly all of them are lower-case, other words
    are lower-cased before they are looked up, so that a prompt with capitals is understood.

    Decoding puts a blank before every word, the first one too: text-generation pipelines glue the new words' text to
    the prompt's.

    What fills up the shorter rows of a batch is ``<pad>``, whose id comes after those of the words.

    Args:
        words: the vocabulary in the order of its ids, ``unk`` and ``eos`` among them.
        unk: what stands for unknown words.
        eos: what ends a line; also begins a text.

    Raises:
        UserError: a word is there twice, is empty or holds white space, or ``unk`` or ``eos`` is missing.

    Example:
        >>> tokenizer = build_tokenizer(["<unk>", "<eos>", "the", "cat", "N"])
        >>> tokenizer.encode("The cat\nN dogs")
        [2, 3, 1, 4, 0]
        >>> tokenizer.decode([2, 3, 1])
        ' the cat <eos>'
    """
    _check(words, unk, eos)
    backend = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token=unk))
    backend.normalizer = Chain([Replace(Regex(r"\s*\n\s*"), f" {eos} "), *_lower_case(words, (unk, eos))])
    backend.pre_tokenizer = WhitespaceSplit()
    backend.decoder = Prefix(Regex("^(?=.)"), " ")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=_special(unk),
        bos_token=_special(eos),
        eos_token=_special(eos),
        pad_token=_special(_unused("pad", words)),
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def _check(words: Sequence[str], unk: str, eos: str) -> None:
    if len(set(words)) != len(words):
        repeated = next(word for index, word in enumerate(words) if word in words[:index])
        raise UserError(f"words must differ from each other, got {repeated!r} twice")
    for word in words:
        if word.split() != [word]:
            raise UserError(f"words must be without white space and not empty, got {word!r}")
    for special in (unk, eos):
        if special not in words:
            raise UserError(f"words must contain {special!r}, got {len(words)} others")


def _unused(name: str, words: Sequence[str]) -> str:
    """``<pad>`` for "pad", or a name with more of its last letter where that is a word of the data."""
    while f"<{name}>" in words:
        name += name[-1]
    return f"<{name}>"


def _special(word: str) -> AddedToken:
    # As a whole word only: `x<unk>` is one unknown word in training, not two tokens.
    return AddedToken(word, single_word=True, normalized=False, special=True)


def _lower_case(words: Sequence[str], specials: tuple[str, str]) -> list[Normalizer]:
    """Steps that lower-case everything but the vocabulary's own cased words; none for a cased vocabulary."""
    cased = [word for word in words if word not in specials and word != word.lower()]
    if len(cased) > CASED_WORDS:
        return []
    # Each cased word hides behind private-use characters while the rest is lower-cased.
    marks = [f"\ue000{chr(0xE001 + index)}" for index in range(len(cased))]
    hide: list[Normalizer] = [
        Replace(Regex(rf"(?<!\S){re.escape(word)}(?!\S)"), mark) for word, mark in zip(cased, marks, strict=True)
    ]
    show: list[Normalizer] = [Replace(mark, word) for word, mark in zip(cased, marks, strict=True)]
    return [*hide, Lowercase(), *show]
