"""Cross-entropy of a tied decoder, unreduced, without all logits at once: in a processor's cache, or in large blocks.

This file imports torch and its sibling alone, because it belongs beside a model that must load where `cnas` is missing.

Legend: H hidden units, V words, N tokens.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ._memory import BufferPool

CHUNK_ELEMENTS = 2**22
"""Logits that one product of the loss makes: enough for an efficient product, little beside all of them."""
CACHE_ELEMENTS = 2**19
"""Logits that are normalised at once: 2 MB of float32 stay in the cache of today's processors."""
BLOCK_ELEMENTS = 2**25
"""Logits that are normalised at once on an accelerator: enough to keep it busy."""


class Decoder(NamedTuple):
    """A decoder by its weights, [V, H] and [V]."""

    weight: Tensor
    bias: Tensor | None = None


def tied_cross_entropy(
    hidden_NH: Tensor, decoder: nn.Linear | Decoder, labels_N: Tensor, memory: BufferPool | None = None
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
        blocks = row_blocks(len(hidden), len(weight), CHUNK_ELEMENTS if hidden.is_cpu else BLOCK_ELEMENTS)
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
    at_once = CACHE_ELEMENTS if logits_NV.is_cpu else BLOCK_ELEMENTS
    for rows in row_blocks(len(logits_NV), logits_NV.shape[1], at_once):
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
