"""What one new token costs a decoder in milliseconds, added up of measured blocks.

A block is one layer of (width, heads, MLP) with its attention to cached tokens, or all that is no layer, for each
width. Noise may make a smaller block slower than a larger one, and a limit needs the smallest architecture to be the
fastest: times are smoothed so that they never fall as a size grows.

Legend: W widths, H numbers of heads, M widths of the MLP, P all of these together.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cnas.errors import UserError
from cnas.spaces._decoding import REPETITIONS, step_times
from cnas.spaces._stock import Shape

Sizes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Widths, numbers of heads and widths of the MLP, each ascending."""


def block_names(sizes: Sizes) -> list[str]:
    """The names of all blocks: one for each width, then all layers, the smallest first.

    Example:
        >>> block_names(((96, 128), (2,), (192,)))
        ['w96', 'w128', 'w96 h2 m192', 'w128 h2 m192']
    """
    return [*(f"w{width}" for width in sizes[0]), *map(_layer_name, product(*sizes))]


def _layer_name(sizes: tuple[int, ...]) -> str:
    return "w{} h{} m{}".format(*sizes)


def measure_blocks(
    sizes: Sizes, build: Callable[[int, int, int], Any], device: torch.device, context: int
) -> dict[str, Any]:
    """Milliseconds of all blocks, and how they were measured.

    Args:
        sizes: of the blocks.
        build: makes the stock decoder with one layer of such sizes.
        device: runs them; a CPU in float32, any other one in bfloat16.
        context: tokens in the cache.
    """
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    networks: list[Any] = []
    embeddings: dict[int, Any] = {}
    with torch.random.fork_rng(devices=[]):  # The weights do not matter, and must move no draw of the run.
        for width, heads, mlp in product(*sizes):
            network = build(width, heads, mlp).to(device, dtype).eval()
            # All of one width share their embedding, which is most of what they weigh.
            network.set_input_embeddings(embeddings.setdefault(width, network.get_input_embeddings()))
            network.tie_weights()
            networks.append(network)
    times = step_times(networks, device, context)
    each = len(times) // len(sizes[0])
    rest = [
        statistics.median(found.rest for found in times[first : first + each]) for first in range(0, len(times), each)
    ]
    found = zip(block_names(sizes), [*rest, *(one.layer for one in times)], strict=True)
    setting = {"dtype": str(dtype).removeprefix("torch."), "cache_tokens": context, "repetitions": REPETITIONS}
    return setting | {"blocks": dict(found)}


class Latency(NamedTuple):
    """The milliseconds of decoders, which never fall as a size grows.

    Args:
        rest: all that is no layer, by width.
        layer: one layer, by width, heads and width of the MLP.
    """

    rest: Mapping[int, float]
    layer: Mapping[tuple[int, ...], float]

    @classmethod
    def of(cls, sizes: Sizes, blocks: Mapping[str, float]) -> Latency:
        """Smooth what was measured.

        Args:
            sizes: of the blocks.
            blocks: milliseconds of all of them, by name.

        Raises:
            UserError: one of them is missing.
        """
        if missing := [name for name in block_names(sizes) if name not in blocks]:
            raise UserError(f"measured blocks must be all of the space, and {missing[0]!r} is not among them")
        places = [*product(*sizes)]
        rest_W = torch.tensor([blocks[f"w{width}"] for width in sizes[0]], dtype=torch.float64)
        layer_P = torch.tensor([blocks[_layer_name(place)] for place in places], dtype=torch.float64)
        layer_WHM = ascending(layer_P.view([len(each) for each in sizes]))
        rest = dict(zip(sizes[0], ascending(rest_W).tolist(), strict=True))
        return cls(rest, dict(zip(places, layer_WHM.flatten().tolist(), strict=True)))

    def milliseconds(self, shape: Shape) -> float:
        """Of one new token."""
        return self.rest[shape.width] + shape.depth * self.layer[shape.width, shape.heads, shape.mlp]


def ascending(times: Tensor) -> Tensor:
    """Times that never fall along any axis: the mean of the largest one up to each and the smallest one from it on.

    Example:
        >>> ascending(torch.tensor([1.0, 4.0, 2.0, 5.0])).tolist()
        [1.0, 3.0, 3.0, 5.0]
    """
    before = after = times
    for axis in range(times.dim()):
        before = before.cummax(axis).values
        after = after.flip(axis).cummin(axis).values.flip(axis)
    return (before + after) / 2
