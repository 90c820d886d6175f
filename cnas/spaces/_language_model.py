"""The shell that every recurrent language model shares: embedding, variational dropouts, tied decoder, loss.

This file imports torch and its sibling alone, because it belongs beside a model that must load where `cnas` is missing.

Dropouts are variational (Gal & Ghahramani 2016): one mask per sequence, the same at every time step. The regularisers
are those of the AWD-LSTM (Merity et al. 2018): AR on the dropped outputs or, as in `enas_lm`, on the raw ones; TAR
(temporal activation regularisation) on the raw ones, as in all sources.

Legend: B sequences, T tokens, H hidden units, V words, N = B·T.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ._memory import BufferPool

Penalised = Literal["dropped", "raw"]

CHUNK_ELEMENTS = 2**22
"""Logits that one product of the loss makes: enough for an efficient product, little beside all of them."""

BLOCK_ELEMENTS = 2**25
"""Logits that are normalised at once on an accelerator: enough to keep it busy."""
KEPT_MASKS = 3
NEVER = 104.0
"""So far below all others a logit has probability 0: e^-104 is less than half of the smallest float32."""

CACHE_ELEMENTS = 2**19
"""Logits that are normalised at once: 2 MB of float32 stay in the cache of today's processors."""


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
        asked = dropout_seeds, rows, self.embedding.weight.dtype
        found = next((masks for known, masks in self._drawn if known == asked), None)
        if found is None or dropout_seeds is None:
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

    def _row_mask(self, stream: str, rate: float, shape: tuple[int, ...], dropout_seeds: Any | None) -> Tensor | None:
        if dropout_seeds is None:
            return self._mask(stream, rate, shape, None)
        mask = self._mask(stream, rate, (dropout_seeds.total, *shape[1:]), dropout_seeds)
        return None if mask is None else mask[dropout_seeds.rows]

    def _mask(self, stream: str, rate: float, shape: tuple[int, ...], dropout_seeds: Any | None) -> Tensor | None:
        if rate == 0:
            return None
        generator = None if dropout_seeds is None else dropout_seeds.generator(stream)
        kept = torch.rand(shape, generator=generator) >= rate
        return kept.to(self.embedding.weight.dtype) / (1 - rate)

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


def tied_cross_entropy(
    hidden_NH: Tensor, decoder: nn.Linear, labels_N: Tensor, memory: BufferPool | None = None
) -> Tensor:
    """Cross-entropy of ``decoder(hidden)``, unreduced, float32 (float64 for float64 inputs), shape [N].

    Equal to ``cross_entropy(decoder(hidden).float(), labels, reduction="none")``; the [N, V] logits exist a few rows
    at a time, in the processor's cache, and one [N, V] buffer is kept for the backward pass. Without
    gradient nothing of size N·V is held. The buffer comes from ``memory`` where that is given.
    """
    inputs = (hidden_NH, decoder.weight, decoder.bias)
    # Inside the function grad mode is off, and `needs_input_grad` does not know of `torch.no_grad`: asked here.
    keep = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs)
    losses: Tensor = _TiedCrossEntropy.apply(*inputs, labels_N, memory or BufferPool(), keep)
    return losses


def cross_entropy_at_once(
    hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, labels_N: Tensor, exact: torch.dtype
) -> Tensor:
    """As `tied_cross_entropy`, in large blocks, which suit an accelerator; products in the dtype of ``hidden``.

    The [N, V] gradient is made with the losses, and takes the place of the logits.
    """
    found: Tensor = _CrossEntropyAtOnce.apply(hidden_NH, weight_VH, bias_V, labels_N, exact)
    return found


class _CrossEntropyAtOnce(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, labels_N: Tensor, exact: torch.dtype
    ) -> Tensor:
        losses_N, keep = hidden_NH.new_empty(len(hidden_NH), dtype=exact), any(ctx.needs_input_grad)
        slopes_NV = hidden_NH.new_empty(len(hidden_NH) if keep else 0, len(weight_VH))
        bias_V = None if bias_V is None else bias_V.to(hidden_NH.dtype)
        for rows in row_blocks(len(hidden_NH), len(weight_VH), BLOCK_ELEMENTS):
            logits = nn.functional.linear(hidden_NH[rows], weight_VH, bias_V).to(exact)
            into = slopes_NV[rows] if keep and slopes_NV.dtype is exact else torch.empty_like(logits)
            torch.log_softmax(logits, 1, out=into)
            losses_N[rows] = into.gather(1, labels_N[rows, None]).squeeze(1).neg()
            if keep:
                into.exp_().scatter_add_(1, labels_N[rows, None], into.new_full((), -1.0).expand(len(into), 1))
                slopes_NV[rows] = into
        if keep:
            ctx.save_for_backward(hidden_NH, weight_VH, slopes_NV)
            ctx.dtypes = hidden_NH.dtype, weight_VH.dtype, None if bias_V is None else exact
        return losses_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_NH, weight_VH, slopes_NV = ctx.saved_tensors
        return *_through_products(ctx, hidden_NH, weight_VH, slopes_NV, grads[0]), None, None


def row_blocks(rows: int, vocabulary: int, elements: int = CHUNK_ELEMENTS) -> list[slice]:
    """Blocks of rows that hold at most ``elements`` logits each (one row at least)."""
    size = max(1, elements // vocabulary)
    edges = [*range(0, rows, size), rows]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


class _TiedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, memory: BufferPool, keep: bool
    ) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        hidden_NH, weight_VH = hidden.to(dtype), weight.to(dtype)
        exact = torch.promote_types(hidden.dtype, torch.float32)
        losses_N = torch.empty(len(hidden), dtype=exact, device=hidden.device)
        blocks = row_blocks(len(hidden), len(weight), CHUNK_ELEMENTS)
        kept_rows = len(hidden) if keep or not blocks else blocks[0].stop
        buffers = memory.take([(kept_rows, len(weight))], hidden, dtype)
        (logits_NV,) = buffers.parts
        for rows in blocks:
            logits = logits_NV[rows] if keep else logits_NV[: rows.stop - rows.start]
            torch.mm(hidden_NH[rows], weight_VH.t(), out=logits)
            _to_losses(logits, bias, labels[rows], losses_N[rows], keep)
        ctx.save_for_backward(hidden_NH, weight_VH)
        ctx.buffers = buffers if keep else None  # by now the losses' gradients by the logits
        ctx.dtypes = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        return losses_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_NH, weight_VH = ctx.saved_tensors
        return *_through_products(ctx, hidden_NH, weight_VH, ctx.buffers.parts[0], grads[0]), None, None, None


def _through_products(
    ctx: Any, hidden_NH: Tensor, weight_VH: Tensor, slopes_NV: Tensor, grad_N: Tensor
) -> list[Tensor | None]:
    """The gradients of hidden states, weight and bias from those of the losses by the logits."""
    scale_N1 = grad_N[:, None].to(hidden_NH.dtype)
    # The incoming gradient multiplies the small factor of each product, never all [N, V]. A gradient of the
    # architecture takes the weights as constants: what nobody asks for is not computed.
    products = (
        lambda: (slopes_NV @ weight_VH).mul_(scale_N1),
        lambda: slopes_NV.t() @ (hidden_NH * scale_N1),
        lambda: slopes_NV.t() @ scale_N1[:, 0],
    )
    parts = zip(products, ctx.needs_input_grad, ctx.dtypes, strict=False)
    return [product().to(kind) if wanted else None for product, wanted, kind in parts]


def _to_losses(logits_NV: Tensor, bias_V: Tensor | None, labels_N: Tensor, losses_N: Tensor, keep: bool) -> None:
    """Fill ``losses_N`` from logits; with ``keep``, overwrite ``logits_NV`` with the gradient of the losses.

    That is the probability of every word, less 1 for the label.
    """
    for rows in row_blocks(len(logits_NV), logits_NV.shape[1], CACHE_ELEMENTS):
        logits, labels = logits_NV[rows], labels_N[rows]
        if bias_V is not None:
            logits += bias_V.to(logits.dtype)
        values = logits.to(losses_N.dtype)
        if keep:
            losses_N[rows] = _to_slopes(values, labels)
            if values.dtype is not logits.dtype:
                logits.copy_(values)
        else:
            losses_N[rows] = nn.functional.cross_entropy(values, labels, reduction="none")


def _to_slopes(values_NV: Tensor, labels_N: Tensor) -> Tensor:
    """Losses [N] of logits, which are overwritten with the gradient: one exponential gives both."""
    label_logits = values_NV.gather(1, labels_N[:, None])
    largest = values_NV.amax(1, keepdim=True)
    sums = values_NV.sub_(largest).exp_().sum(1, keepdim=True)
    values_NV.div_(sums)
    values_NV.scatter_add_(1, labels_N[:, None], values_NV.new_full((), -1.0).expand(len(values_NV), 1))
    return (sums.log() - (label_logits - largest)).squeeze(1)
