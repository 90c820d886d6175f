"""Runs a stock decoder of `transformers` (Llama and its like) as the trainer runs networks of our own.

The forward pass is a function of weights by their names in `LlamaForCausalLM`, so that a supernet can give it slices of
larger weights: RMSNorm before attention and MLP, rotary positions, SwiGLU, no biases, embedding and decoder tied.
Dropouts are locked, one mask for all tokens of a sequence, where a stock model would draw one per token from a
generator whose state a resumed run does not have.

Legend: B sequences, T tokens, S of them predicted, L layers, D width, M width of the MLP, H heads, V words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cnas.random import to_device
from cnas.spaces._cross_entropy import Decoder, tied_cross_entropy
from cnas.spaces._language_model import apply_mask, locked_mask
from cnas.spaces._memory import BufferPool
from cnas.types import Batch, Output

EPSILON = 1e-6
"""Of every RMSNorm."""
THETA = 1e4
"""Base of the wave lengths of rotary positions."""
EMBEDDING, NORM = "model.embed_tokens.weight", "model.norm.weight"


class Shape(NamedTuple):
    """The sizes of a decoder."""

    width: int
    depth: int
    heads: int
    mlp: int
    head_dim: int

    @property
    def attention(self) -> int:
        """Numbers of all heads together."""
        return self.heads * self.head_dim


LAYER = {
    "input_layernorm": ("width",),
    "self_attn.q_proj": ("attention", "width"),
    "self_attn.k_proj": ("attention", "width"),
    "self_attn.v_proj": ("attention", "width"),
    "self_attn.o_proj": ("width", "attention"),
    "post_attention_layernorm": ("width",),
    "mlp.gate_proj": ("mlp", "width"),
    "mlp.up_proj": ("mlp", "width"),
    "mlp.down_proj": ("width", "mlp"),
}
"""The weights of a layer: which size of `Shape` each of their axes has."""


@dataclass(frozen=True, kw_only=True)
class DropoutRates:
    """Rates of the locked dropouts."""

    dropout_embedding: float = 0.0
    """Dropout rate of the embedded tokens."""
    dropout_hidden: float = 0.0
    """Dropout rate of what attention and MLP of every layer add."""
    dropout_output: float = 0.0
    """Dropout rate of what enters the decoder."""


class Masks(NamedTuple):
    """Dropout masks of one batch, already scaled; None where the rate is 0."""

    embedding: Tensor | None = None  # [B, 1, D]
    hidden: Tensor | None = None  # [B, 2L, D]: attention and MLP of every layer
    output: Tensor | None = None  # [B, 1, D]

    @classmethod
    def draw(cls, rates: DropoutRates, batch: Batch, shape: Shape, like: Tensor) -> Masks:
        """The masks of a training batch, the same ones whatever the device and the number of processes.

        Args:
            rates: of the dropouts.
            batch: its ``dropout_seeds`` are drawn from.
            shape: of the decoder.
            like: has the dtype and the device of the masks.
        """
        counts, drawn = {"embedding": 1, "hidden": 2 * shape.depth, "output": 1}, []
        for name, count in counts.items():
            size, rate = (len(batch.inputs), count, shape.width), getattr(rates, f"dropout_{name}")
            mask = locked_mask(name, rate, size, batch.dropout_seeds, like.dtype)
            drawn.append(None if mask is None else to_device(mask, like.device))
        return cls(*drawn)

    def cut(self, shape: Shape) -> Masks:
        """The part of them that a smaller decoder uses."""
        return Masks(*(None if mask is None else mask[:, : 2 * shape.depth, : shape.width] for mask in self))

    def added(self, layer: int, part: int) -> Tensor | None:
        """What attention (0) or MLP (1) of a layer is multiplied by, [B, 1, D]."""
        place = 2 * layer + part
        return None if self.hidden is None else self.hidden[:, place : place + 1]


NO_MASKS, NO_DROPOUT = Masks(), DropoutRates()


def parameters_of(shape: Shape, words: int) -> dict[str, tuple[int, ...]]:
    """The sizes of all weights of a decoder, by their names in `LlamaForCausalLM`.

    Args:
        shape: of the decoder.
        words: V.

    Example:
        >>> found = parameters_of(Shape(width=8, depth=1, heads=2, mlp=16, head_dim=4), words=10)
        >>> found["model.layers.0.mlp.down_proj.weight"], len(found)
        ((8, 16), 11)
    """
    layers = {
        f"model.layers.{layer}.{part}.weight": tuple(int(getattr(shape, axis)) for axis in axes)
        for layer in range(shape.depth)
        for part, axes in LAYER.items()
    }
    return {EMBEDDING: (words, shape.width), **layers, NORM: (shape.width,)}


def losses(
    weights: Mapping[str, Tensor], shape: Shape, batch: Batch, masks: Masks = NO_MASKS, memory: BufferPool | None = None
) -> Tensor:
    """Cross-entropy of every label, float32 [B, S], without all logits at once.

    Args:
        weights: by their names in `LlamaForCausalLM`.
        shape: of the decoder.
        batch: inputs [B, T] and labels [B, S]; the labels belong to the last S tokens.
        masks: of its dropouts.
        memory: where large buffers come from.
    """
    hidden_BTD = hidden(weights, shape, batch.inputs, masks)[:, -batch.labels.shape[1] :]
    hidden_BTD = apply_mask(hidden_BTD, masks.output)
    decoder = Decoder(weights[EMBEDDING])
    return tied_cross_entropy(hidden_BTD.flatten(0, 1), decoder, batch.labels.flatten(), memory).view(
        batch.labels.shape
    )


def hidden(weights: Mapping[str, Tensor], shape: Shape, inputs_BT: Tensor, masks: Masks = NO_MASKS) -> Tensor:
    """What the decoder reads off, [B, T, D]; arguments as in `losses`."""
    values_BTD = apply_mask(F.embedding(inputs_BT, weights[EMBEDDING]), masks.embedding)
    turns = rotations(inputs_BT.shape[1], shape.head_dim, values_BTD)
    for layer in range(shape.depth):
        own = {part: weights[f"model.layers.{layer}.{part}.weight"] for part in LAYER}
        read = _normed(values_BTD, own["input_layernorm"])
        values_BTD = values_BTD + apply_mask(_attention(read, own, shape, turns), masks.added(layer, 0))
        read = _normed(values_BTD, own["post_attention_layernorm"])
        inner = _gated(F.linear(read, own["mlp.gate_proj"]), F.linear(read, own["mlp.up_proj"]))
        values_BTD = values_BTD + apply_mask(F.linear(inner, own["mlp.down_proj"]), masks.added(layer, 1))
    return _normed(values_BTD, weights[NORM])


def rotations(length: int, head_dim: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, head_dim] of rotary positions, in the dtype of ``like``."""
    exact = torch.promote_types(like.dtype, torch.float32)
    steps = torch.arange(0, head_dim, 2, device=like.device).to(exact) / head_dim
    angles = torch.outer(torch.arange(length, device=like.device).to(exact), 1.0 / THETA**steps).repeat(1, 2)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def _normed(values_BTD: Tensor, weight_D: Tensor) -> Tensor:
    return F.rms_norm(values_BTD, weight_D.shape, weight_D, EPSILON)


def _gated(gate_BTM: Tensor, up_BTM: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        return F.silu(gate_BTM) * up_BTM
    # First touching new memory would take longer than this product.
    return F.silu(gate_BTM, inplace=True).mul_(up_BTM)


def _attention(values_BTD: Tensor, own: Mapping[str, Tensor], shape: Shape, turns: tuple[Tensor, Tensor]) -> Tensor:
    rows, length, _ = values_BTD.shape
    query, key, value = (
        F.linear(values_BTD, own[f"self_attn.{name}_proj"])
        .view(rows, length, shape.heads, shape.head_dim)
        .transpose(1, 2)
        for name in "qkv"
    )
    found = F.scaled_dot_product_attention(_turned(query, turns), _turned(key, turns), value, is_causal=True)
    return F.linear(found.transpose(1, 2).flatten(2), own["self_attn.o_proj"])


def _turned(values_BHTd: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    first, second = values_BHTd.chunk(2, -1)
    cosines, sines = (each.to(values_BHTd.dtype) for each in turns)
    return values_BHTd * cosines + torch.cat([-second, first], -1) * sines


def prepare(network: Any, rates: DropoutRates) -> Any:
    """The stock network, with what `run_stock` and the trainer want to know of it.

    Args:
        network: a `LlamaForCausalLM` or `MistralForCausalLM`.
        rates: of its dropouts while it is trained; they are not saved with it.
    """
    network.dropout_rates, network.outcomes, network.memory = rates, network.config.vocab_size, BufferPool()
    return network


def run_stock(network: Any, batch: Batch) -> Output:
    """What a stock network gives for a batch; logits [B, S, V] where it is not in training.

    Args:
        network: a `LlamaForCausalLM`, or another one of its kind, with tied embedding and no biases.
        batch: its labels belong to its last tokens.
    """
    config, weights = network.config, dict(network.named_parameters())
    shape = Shape(
        config.hidden_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.intermediate_size,
        config.head_dim,
    )
    if network.training:
        masks = Masks.draw(getattr(network, "dropout_rates", NO_DROPOUT), batch, shape, weights[EMBEDDING])
        found, logits = losses(weights, shape, batch, masks, getattr(network, "memory", None)), None
    else:
        hidden_BTD = hidden(weights, shape, batch.inputs)[:, -batch.labels.shape[1] :]
        logits = F.linear(hidden_BTD, weights[EMBEDDING])
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        found = F.cross_entropy(exact.flatten(0, 1), batch.labels.flatten(), reduction="none").view(batch.labels.shape)
    return Output(found, logits, None, found.new_zeros(()))
