"""The shell that every recurrent language model shares: embedding, variational dropouts, tied decoder, loss.

This file imports torch and its sibling alone, because it belongs beside a model that must load where `cnas` is missing.

Dropouts are variational (Gal & Ghahramani 2016): one mask per sequence, the same at every time step. The regularisers
are those of the AWD-LSTM (Merity et al. 2018): AR on the dropped outputs or, as in `enas_lm`, on the raw ones; TAR
(temporal activation regularisation) on the raw ones, as in all sources.

Legend: B sequences, T tokens, H hidden units, V words, N = B·T.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from ._cross_entropy import tied_cross_entropy
from ._memory import BufferPool

Penalised = Literal["dropped", "raw"]


KEPT_MASKS = 3
"""So many batches keep the masks that were drawn for them."""
NEVER = 104.0
"""So far below all others a logit has probability 0: e^-104 is less than half of the smallest float32."""


@dataclass(frozen=True, kw_only=True)
class LanguageModelSizes:
    """Sizes and regularisers of one recurrent language model.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    vocab_size: int = 10000
    """Number of words; a run takes it from its data."""
    hidden_size: int = 200
    """Width of the embedding and of the hidden state (H)."""
    dropout_words: float = 0.0
    """Share of the vocabulary whose embedding is dropped in a batch."""
    dropout_embedding: float = 0.0
    """Dropout rate of the embedded words."""
    dropout_input: float = 0.0
    """Dropout rate of what enters the cell from below."""
    dropout_hidden: float = 0.0
    """Dropout rate of every node's input inside the cell."""
    dropout_output: float = 0.0
    """Dropout rate of the cell's output before the decoder."""
    activation_penalty: float = 0.0
    """AR: weight of the mean squared output."""
    penalised_output: Penalised = "dropped"
    """Whether AR takes the output after its dropout (AWD-LSTM, DARTS) or before (`enas_lm`)."""
    tar: float = 0.0
    """TAR: weight of the mean squared difference of successive raw outputs."""
    init_range: float = 0.04
    """Weights start uniform in ±init_range."""
    decoder_bias: bool = False
    """Whether the decoder adds one bias per word."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (field.name for field in fields(self) if field.name.startswith("dropout_")):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name in ("activation_penalty", "tar", "init_range"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if self.penalised_output not in get_args(Penalised):
            raise ValueError(f"penalised_output must be dropped or raw, got {self.penalised_output!r}")


class Masks(NamedTuple):
    """Dropout masks of one batch, already scaled by 1/(1-rate); None where the rate is 0."""

    words: Tensor | None  # [V, 1]
    embedding: Tensor | None  # [B, 1, H]
    input: Tensor | None  # [B, 1, H]
    hidden: Tensor | None  # [B, H]
    output: Tensor | None  # [B, 1, H]


NO_MASKS = Masks(None, None, None, None, None)


def apply_mask(values: Tensor, mask: Tensor | None) -> Tensor:
    """``values * mask``, or ``values`` where there is no mask."""
    return values if mask is None else values * mask


def drawn_mask(
    stream: str, rate: float, shape: tuple[int, ...], dropout_seeds: Any | None, dtype: torch.dtype
) -> Tensor | None:
    """A scaled dropout mask in host memory, of `cnas.random.DropoutSeeds` where there are some; None at rate 0."""
    if rate == 0:
        return None
    generator = None if dropout_seeds is None else dropout_seeds.generator(stream)
    kept = torch.rand(shape, generator=generator) >= rate
    return kept.to(dtype) / (1 - rate)


def locked_mask(
    stream: str, rate: float, shape: tuple[int, ...], dropout_seeds: Any | None, dtype: torch.dtype
) -> Tensor | None:
    """As `drawn_mask`, one mask per sequence: drawn for the whole global batch, and cut to the rows at hand."""
    if dropout_seeds is None:
        return drawn_mask(stream, rate, shape, None, dtype)
    mask = drawn_mask(stream, rate, (dropout_seeds.total, *shape[1:]), dropout_seeds, dtype)
    return None if mask is None else mask[dropout_seeds.rows]


class LanguageModelShell(nn.Module):
    """Embedding and decoder with tied weights, the dropouts and the regularisers.

    A cell sits between `embed` and `losses`; it multiplies the inputs of its nodes by ``masks.hidden``.
    """

    def __init__(self, sizes: LanguageModelSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Embedding(sizes.vocab_size, sizes.hidden_size)
        self.decoder = nn.Linear(sizes.hidden_size, sizes.vocab_size, bias=sizes.decoder_bias)
        self.decoder.weight = self.embedding.weight
        self.memory = BufferPool()
        self._drawn: list[tuple[Any, Masks]] = []

    def masks(self, rows: int, dropout_seeds: Any | None) -> Masks:
        """The masks of a batch with ``rows`` sequences, on the device of the weights; none in evaluation.

        ``dropout_seeds`` (a `cnas.random.DropoutSeeds`) draws them for the whole global batch and names
        the rows of this process; without it they come from torch's global generator.
        """
        like = self.embedding.weight
        drawn = self.host_masks(rows, dropout_seeds)
        return Masks(*(None if mask is None else mask.to(like.device) for mask in drawn))

    def host_masks(self, rows: int, dropout_seeds: Any | None) -> Masks:
        """`masks` in host memory, where every accelerator draws the same ones.

        Those of the last few batches are kept: several passes of a step may want them, and they may be drawn ahead.
        """
        if not self.training:
            return NO_MASKS
        if dropout_seeds is None:
            return self._draw(rows, None)
        asked = dropout_seeds, rows, self.embedding.weight.dtype
        found = next((masks for known, masks in self._drawn if known == asked), None)
        if found is None:
            found = self._draw(rows, dropout_seeds)
            self._drawn = [*self._drawn[1 - KEPT_MASKS :], (asked, found)]
        return found

    def _draw(self, rows: int, dropout_seeds: Any | None) -> Masks:
        sizes, (words, hidden) = self.sizes, self.embedding.weight.shape
        return Masks(
            words=self._mask("words", sizes.dropout_words, (words, 1), dropout_seeds),
            embedding=self._row_mask("embedding", sizes.dropout_embedding, (rows, 1, hidden), dropout_seeds),
            input=self._row_mask("input", sizes.dropout_input, (rows, 1, hidden), dropout_seeds),
            hidden=self._row_mask("hidden", sizes.dropout_hidden, (rows, hidden), dropout_seeds),
            output=self._row_mask("output", sizes.dropout_output, (rows, 1, hidden), dropout_seeds),
        )

    def _mask(self, stream: str, rate: float, shape: tuple[int, ...], dropout_seeds: Any | None) -> Tensor | None:
        return drawn_mask(stream, rate, shape, dropout_seeds, self.embedding.weight.dtype)

    def _row_mask(self, stream: str, rate: float, shape: tuple[int, ...], dropout_seeds: Any | None) -> Tensor | None:
        return locked_mask(stream, rate, shape, dropout_seeds, self.embedding.weight.dtype)

    def embed(self, tokens_BT: Tensor, masks: Masks) -> Tensor:
        """The cell's input [B, T, H]: embedded words after word, embedding and input dropout."""
        return apply_input_masks(self.embedding(tokens_BT), tokens_BT, masks)

    def decode(self, dropped_BTH: Tensor, pad_row: int | None = None) -> Tensor:
        """Logits [B, T, V]; that of ``pad_row``, which is no word, lies so far below that it never counts."""
        logits: Tensor = self.decoder(dropped_BTH)
        if pad_row is not None and pad_row < logits.shape[-1]:
            # Finite, since what sums all log-probabilities (label smoothing, an entropy) would turn -inf into NaN.
            logits[..., pad_row] = logits.detach().amin(-1) - NEVER
        return logits

    def losses(
        self, raw_BTH: Tensor, labels_BT: Tensor, masks: Masks, pad_row: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Per-token cross-entropy float32 [B, T] and the regularisers' scalar."""
        dropped_BTH = apply_mask(raw_BTH, masks.output)
        if pad_row is None:
            losses = tied_cross_entropy(dropped_BTH.flatten(0, 1), self.decoder, labels_BT.flatten(), self.memory)
        else:
            logits = self.decode(dropped_BTH, pad_row).flatten(0, 1)
            exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
            losses = nn.functional.cross_entropy(exact, labels_BT.flatten(), reduction="none")
        penalty = regularisers(self.sizes, raw_BTH, dropped_BTH) if self.training else raw_BTH.new_zeros(())
        return losses.view(labels_BT.shape), penalty


def apply_input_masks(embedded_BTH: Tensor, tokens_BT: Tensor, masks: Masks) -> Tensor:
    """Embedded words after word, embedding and input dropout."""
    if masks.words is not None:
        embedded_BTH = embedded_BTH * masks.words[tokens_BT]
    return apply_mask(apply_mask(embedded_BTH, masks.embedding), masks.input)


def regularisers(sizes: LanguageModelSizes, raw_BTH: Tensor, dropped_BTH: Tensor) -> Tensor:
    """AR and TAR of a training batch, a scalar, from its outputs before and after their dropout."""
    penalty = raw_BTH.new_zeros(())
    if sizes.activation_penalty:
        outputs_BTH = {"dropped": dropped_BTH, "raw": raw_BTH}[sizes.penalised_output]
        penalty = penalty + sizes.activation_penalty * outputs_BTH.square().mean()
    if sizes.tar and raw_BTH.shape[1] > 1:
        penalty = penalty + sizes.tar * (raw_BTH[:, 1:] - raw_BTH[:, :-1]).square().mean()
    return penalty
