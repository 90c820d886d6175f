"""Decoder-only transformers: width, depth, number of heads and width of the MLP are searched, the same in every layer.

Notation: ``w192 d4 h4 m576``. What comes out is a stock `transformers.LlamaForCausalLM`, which every tool loads; where
the width is no multiple of the number of heads, a `MistralForCausalLM` without its sliding window, the same function.

Sharing by prefixes, as in the elastic networks of AutoFormer (Chen et al. 2021) and HAT (Wang et al. 2020): a smaller
network uses the first rows, columns, heads and layers of the largest one.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import product
from typing import Any, ClassVar, Self

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from cnas.errors import UserError
from cnas.spaces._stock import EPSILON, DropoutRates, Shape, parameters_of, prepare
from cnas.spaces.base import Decision, SearchSpace
from cnas.spaces.gpt.latency import Sizes, block_names, measure_blocks, milliseconds, smoothed
from cnas.spaces.gpt.supernet import GptSuperNet, cut
from cnas.types import Architecture, Choice, Paper

_LETTERS = {"width": "w", "depth": "d", "heads": "h", "mlp": "m"}
_NOTATION = re.compile(" ".join(rf"{letter}([0-9]{{1,6}})" for letter in _LETTERS.values()), re.ASCII)


@dataclass(frozen=True, kw_only=True)
class GptNetworkSizes(DropoutRates):
    """What else a decoder has, beside the sizes that are searched.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    vocab_size: int = 4096
    """Number of tokens; a run takes it from its data."""
    init_std: float = 0.02
    """Matrices start normal with this standard deviation, norms at 1."""

    def __post_init__(self) -> None:
        if self.vocab_size < 1:
            raise ValueError(f"vocab_size must be at least 1, got {self.vocab_size}")
        for name in (field.name for field in fields(DropoutRates)):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if not 0 < self.init_std <= 1:
            raise ValueError(f"init_std must be above 0, at most 1, got {self.init_std}")


@dataclass(frozen=True, kw_only=True)
class GptSpace(GptNetworkSizes, SearchSpace):
    """Decoders of four sizes; the defaults are small enough for a CPU.

    Example:
        >>> space = GptSpace()
        >>> space.size, [each.to_str() for each in space.extremes()]
        (144, ['w96 d2 h1 m192', 'w192 d4 h4 m576'])
        >>> space.costs(space.parse("w192 d4 h4 m576"))["parameters"]
        2508480
    """

    name: ClassVar[str] = "gpt"
    relaxable: ClassVar[bool] = False
    independent_rows: ClassVar[bool] = True
    stock_networks: ClassVar[bool] = True
    measurable: ClassVar[tuple[str, ...]] = ("latency_ms",)
    network_sizes: ClassVar[type[Any]] = GptNetworkSizes
    published: ClassVar[str | None] = "gpt_cl/cpu"
    part: ClassVar[str] = "architecture"
    paper: ClassVar[Paper | None] = Paper(
        title="AutoFormer: Searching Transformers for Visual Recognition",
        authors="Minghao Chen, Houwen Peng, Jianlong Fu, Haibin Ling",
        year=2021,
        url="https://arxiv.org/abs/2107.00651",
    )

    width: tuple[int, ...] = (96, 128, 160, 192)
    """Numbers that stand for a token."""
    depth: tuple[int, ...] = (2, 3, 4)
    """Layers."""
    heads: tuple[int, ...] = (1, 2, 4)
    """Heads of attention, of ``head_dim`` numbers each."""
    mlp: tuple[int, ...] = (192, 288, 384, 576)
    """Numbers in the middle of the MLP."""
    head_dim: int = 32
    """Numbers of a head; even, since positions turn pairs of them."""

    _blocks: ClassVar[Mapping[str, float] | None] = None
    """Milliseconds, of a space that was measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _LETTERS:
            sizes = getattr(self, name)
            if not sizes or sorted({*sizes}) != [*sizes] or not 1 <= sizes[0] <= sizes[-1] < 1_000_000:
                raise ValueError(f"{name} must be ascending sizes of 1 or more, got {','.join(map(str, sizes))}")
        if self.head_dim < 2 or self.head_dim % 2:
            raise ValueError(f"head_dim must be even and at least 2, got {self.head_dim}")

    @property
    def operations(self) -> tuple[str, ...]:  # type: ignore[override]
        """Every size of every kind, e.g. ``"width 96"``."""
        return tuple(f"{name} {size}" for name in _LETTERS for size in getattr(self, name))

    def decisions(self) -> tuple[Decision, ...]:
        """One per kind of size, each an edge of its own with operations of its own."""
        return _decisions(tuple(len(getattr(self, name)) for name in _LETTERS))

    def shape_of(self, choices: Sequence[Choice]) -> Shape:
        """The sizes that one choice per decision stands for."""
        every = [size for name in _LETTERS for size in getattr(self, name)]
        width, depth, heads, mlp = (every[operation] for _, operation in choices)
        return Shape(width, depth, heads, mlp, self.head_dim)

    def all(self) -> list[Architecture]:
        """Every architecture, the smallest first."""
        return [self.architecture(choices) for choices in product(*(each.options for each in self.decisions()))]

    def extremes(self) -> tuple[Architecture, Architecture]:
        """The smallest and the largest architecture."""
        options = [each.options for each in self.decisions()]
        return self.architecture([each[0] for each in options]), self.architecture([each[-1] for each in options])

    def costs(self, architecture: Architecture) -> Mapping[str, float]:
        """Parameters, and operations of the products with them for one token; attention to earlier ones not counted.

        Where it was `measured`, the milliseconds of one decoding step as well.
        """
        shape = self.shape_of(architecture.choices)
        sizes = parameters_of(shape, self.vocab_size).values()
        matrices = sum(size[0] * size[1] for size in sizes if len(size) == 2)
        norms = sum(size[0] for size in sizes if len(size) == 1)
        timed = {} if self._blocks is None else {"latency_ms": milliseconds(self._blocks, shape)}
        return {"parameters": matrices + norms, "flops": 2 * matrices, **timed}

    @property
    def _block_sizes(self) -> Sizes:
        return self.width, self.heads, self.mlp

    def measure(self, device: torch.device, length: int) -> dict[str, Any]:
        """See `SearchSpace.measure`: one new token of one row, with a cache of half a chunk, in stock networks."""

        def build(width: int, heads: int, mlp: int) -> Any:
            return self._stock(Shape(width, 1, heads, mlp, self.head_dim))

        return measure_blocks(self._block_sizes, build, device, max(1, length // 2))

    def measured(self, blocks: Mapping[str, float] | None) -> Self:
        """See `SearchSpace.measured`."""
        known = dict.fromkeys(block_names(self._block_sizes), 0.0) if blocks is None else blocks
        found = copy.copy(self)
        vars(found)["_blocks"] = smoothed(self._block_sizes, known)
        return found

    def build_supernet(self) -> GptSuperNet:
        """A freshly initialised supernet: the largest network."""
        _, largest = self.extremes()
        return GptSuperNet(self.build_network(largest), self.shape_of(largest.choices), self.shape_of)

    def build_network(self, architecture: Architecture, **sizes: Any) -> Any:
        """The stock decoder of ``architecture``; ``sizes`` are fields of `GptNetworkSizes`."""
        return self._stock(self.shape_of(architecture.choices), **sizes)

    def _stock(self, shape: Shape, **sizes: Any) -> Any:
        own = {field.name: getattr(self, field.name) for field in fields(GptNetworkSizes)}
        chosen = GptNetworkSizes(**own | sizes)
        given = {
            "vocab_size": chosen.vocab_size,
            "hidden_size": shape.width,
            "intermediate_size": shape.mlp,
            "num_hidden_layers": shape.depth,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.heads,
            "head_dim": shape.head_dim,
            "initializer_range": chosen.init_std,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": None,
        }
        network: Any
        if shape.width % shape.heads:
            network = MistralForCausalLM(MistralConfig(**given, sliding_window=None, rms_norm_eps=EPSILON))
        else:
            network = LlamaForCausalLM(LlamaConfig(**given, rms_norm_eps=EPSILON))
        rates = {field.name: getattr(chosen, field.name) for field in fields(DropoutRates)}
        return prepare(network, DropoutRates(**rates))

    def inherited(self, supernet: nn.Module, architecture: Architecture) -> Any:
        """The stock decoder of ``architecture`` with its slices of the supernet's weights, a copy."""
        assert isinstance(supernet, GptSuperNet)
        network = self.build_network(architecture)
        weights = cut(dict(supernet.network.named_parameters()), self.shape_of(architecture.choices))
        own = dict(network.named_parameters())
        for name, weight in weights.items():
            own[name].data.copy_(weight.detach())
        return network

    def to_str(self, choices: Sequence[Choice]) -> str:
        """The letter and the number of every size, separated by blanks."""
        return " ".join(
            f"{letter}{size}" for letter, size in zip(_LETTERS.values(), self.shape_of(choices), strict=False)
        )

    def parse(self, text: str) -> Architecture:
        """The inverse of `to_str`.

        Raises:
            UserError: it is no such text, or one of the sizes is not offered.
        """
        found = _NOTATION.fullmatch(" ".join(text[:80].split()))
        if found is None:
            example = self.extremes()[1]
            raise UserError(f"architecture {text[:60]!r} must be width, depth, heads and MLP, e.g. {example.text!r}")
        choices, first = [], 0
        for edge, (name, size) in enumerate(zip(_LETTERS, map(int, found.groups()), strict=True)):
            offered = getattr(self, name)
            if size not in offered:
                raise UserError(f"architecture {text[:60]!r}: {name} must be one of {', '.join(map(str, offered))}")
            choices.append((edge, first + offered.index(size)))
            first += len(offered)
        return self.architecture(choices)


@lru_cache(maxsize=8)
def _decisions(counts: tuple[int, ...]) -> tuple[Decision, ...]:
    found, first = [], 0
    for edge, (name, count) in enumerate(zip(_LETTERS, counts, strict=True)):
        found.append(Decision(edge + 1, (edge,), (edge,), tuple(range(first, first + count)), name))
        first += count
    return tuple(found)
