"""The word-level tokenizer that gives a user's text the ids the network was trained on."""

from __future__ import annotations

import copy
import re
from collections.abc import Container, Sequence

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import Replace as Prefix
from tokenizers.decoders import Sequence as DecoderSequence
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase, Normalizer, Replace
from tokenizers.normalizers import Sequence as Chain
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from cnas.data.vocabulary import BLANKS, EOS, LINE_ENDS, UNK, Vocabulary
from cnas.data.vocabulary import words as split_words
from cnas.errors import UserError

_INNER, _HIDDEN = "\t", "\n"
"""Blanks that the text is rid of by the time they mark something, so that no text can look like a mark."""

CASED_WORDS = 8
"""Up to so many words with capitals (PTB has one, ``N``), a vocabulary counts as lower-case."""


def build_tokenizer(words: Sequence[str], *, own_pad: bool = True) -> PreTrainedTokenizerFast:
    r"""A tokenizer whose ids are places in ``words``.

    Lines and words are those of `cnas.data.vocabulary`, as in training: text is split at blanks alone, so ``n't``,
    ``mr.`` and ``<unk>`` stay whole. The end of a line is ``<eos>``; blank lines add nothing, but a text that begins
    with one begins with ``<eos>``, as the text of a measurement does. A word of the vocabulary is always itself;
    where nearly all of them are lower-case, other words are lower-cased before they are looked up, so that a prompt
    with capitals is understood.

    Decoding puts a blank before every word, the first one too: text-generation pipelines glue the new words' text to
    the prompt's.

    What fills up the shorter rows of a batch is ``<pad>``, whose id comes after those of the words.

    Args:
        words: the vocabulary in the order of its ids, ``<unk>`` and ``<eos>`` among them.
        own_pad: whether there is ``<pad>``; otherwise ``<eos>`` fills up rows, and there is no id but those of words.

    Raises:
        UserError: a word is there twice, is empty or holds white space, or ``<unk>`` or ``<eos>`` is missing.

    Example:
        >>> tokenizer = build_tokenizer(["<unk>", "<eos>", "the", "cat", "N"])
        >>> tokenizer.encode("The cat\nN dogs")
        [2, 3, 1, 4, 0]
        >>> tokenizer.decode([2, 3, 1])
        ' the cat <eos>'
    """
    for word in Vocabulary(tuple(words)).words:
        if split_words(word) != [word]:
            raise UserError(f"words must be without white space and not empty, got {word!r}")
    lines = Replace(Regex(f"[{BLANKS}]*[{LINE_ENDS}][{BLANKS}]*"), f" {EOS} ")
    pad = _unused("pad", words) if own_pad else EOS
    apart = Chain([_apart(special) for special in dict.fromkeys((UNK, EOS, pad))])
    backend = Tokenizer(WordLevel({apart.normalize_str(word): id for id, word in enumerate(words)}, unk_token=UNK))
    backend.normalizer = Chain([lines, Replace(Regex(f"[{BLANKS}]+"), " "), apart, *_lower_case(words, (UNK, EOS))])
    backend.pre_tokenizer = Split(" ", "removed")
    backend.decoder = DecoderSequence([Prefix(Regex("^(?=.)"), " "), Prefix(_INNER, "")])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=_special(UNK),
        bos_token=_special(EOS),
        eos_token=_special(EOS),
        pad_token=_special(pad),
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def padded(tokenizer: PreTrainedTokenizerFast, *, own_pad: bool = True) -> PreTrainedTokenizerFast:
    """A copy that fills up the right side of shorter rows.

    Args:
        tokenizer: a token of its own for that is kept.
        own_pad: whether one without gets a new token ``<pad>``; otherwise its end of text is used.
    """
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        pad = _unused("pad", tokenizer.get_vocab()) if own_pad else tokenizer.eos_token
        tokenizer.add_special_tokens({"pad_token": pad})
    return tokenizer


def _unused(name: str, words: Container[str]) -> str:
    """``<pad>`` for "pad", or a name with more of its last letter where that is a word of the data."""
    while f"<{name}>" in words:
        name += name[-1]
    return f"<{name}>"


def _special(word: str) -> AddedToken:
    # Looked for in the text as it is after `_apart`.
    return AddedToken(word, normalized=True, special=True)


def _apart(special: str) -> Normalizer:
    """``x<unk>`` is one unknown word in training, not two tokens: a special word within another is broken up."""
    text = re.escape(special)
    return Replace(Regex(f"(?<=[^ ]){text}|{text}(?=[^ ])"), f"{special[0]}{_INNER}{special[1:]}")


def _lower_case(words: Sequence[str], specials: tuple[str, str]) -> list[Normalizer]:
    """Steps that lower-case everything but the vocabulary's own cased words; none for a cased vocabulary."""
    cased = [word for word in words if word not in specials and word != word.lower()]
    if len(cased) > CASED_WORDS:
        return []
    # Each cased word hides behind a mark while the rest is lower-cased.
    hidden = {word: f"{_HIDDEN}{index}{_HIDDEN}" for index, word in enumerate([*specials, *cased])}
    hide = [Replace(Regex(f"(?<![^ ]){re.escape(word)}(?![^ ])"), mark) for word, mark in hidden.items()]
    return [*hide, Lowercase(), *(Replace(mark, word) for word, mark in hidden.items())]
