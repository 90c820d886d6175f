"""What one new token costs a decoder in milliseconds, added up of measured blocks of the stock network.

A block is one layer of (width, heads, MLP) with its attention to cached tokens, or all that is no layer, for each
width. Decoders of one layer are run in turn, over and over, so that a moment in which the machine does something else
spoils one time of many blocks and the median of none. Noise may still make a smaller block slower than a larger one,
and a limit needs the smallest architecture to be the fastest: times are smoothed, and never fall as a size grows.

Legend: W widths, H numbers of heads, M widths of the MLP, N blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor

from cnas.errors import UserError
from cnas.random import HOST
from cnas.spaces._stock import Shape

WARM_UPS, REPETITIONS = 3, 30
Sizes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Widths, numbers of heads and widths of the MLP, each ascending."""


def block_names(sizes: Sizes) -> list[str]:
    """The names of all blocks: one for each width, then all layers, the smallest first.

    Example:
        >>> block_names(((96, 128), (2,), (192,)))
        ['w96', 'w128', 'w96 h2 m192', 'w128 h2 m192']
    """
    return [*(f"w{width}" for width in sizes[0]), *(_layer(*place) for place in product(*sizes))]


def _layer(width: int, heads: int, mlp: int) -> str:
    return f"w{width} h{heads} m{mlp}"


def measure_blocks(
    sizes: Sizes,
    build: Callable[[int, int, int], Any],
    device: torch.device,
    context: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Milliseconds of all blocks, and how they were measured.

    Args:
        sizes: of the blocks.
        build: makes the stock decoder of such sizes with one layer.
        device: runs them; a CPU in float32, any other one in bfloat16.
        context: tokens in the cache, at least 1.
        clock: seconds.
    """
    dtype = torch.float32 if device.type == HOST.type else torch.bfloat16
    embeddings: dict[int, Any] = {}
    steps = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):  # Weights do not matter, and must move no draw of the run.
        for width, heads, mlp in product(*sizes):
            network = build(width, heads, mlp).to(device, dtype).eval()
            # All of one width share their embedding, which is most of what they weigh.
            network.set_input_embeddings(embeddings.setdefault(width, network.get_input_embeddings()))
            network.tie_weights()
            steps.append(_step(network, device, context, clock))
        taken = [[step() for step in steps] for _ in range(WARM_UPS + REPETITIONS)]
    times = torch.tensor(taken[WARM_UPS:], dtype=torch.float64)
    rest_W = times[..., 1].view(len(times), len(sizes[0]), -1).transpose(0, 1).flatten(1).median(1).values
    found = [*rest_W.tolist(), *times[..., 0].median(0).values.tolist()]
    setting = {"dtype": str(dtype).removeprefix("torch."), "cache_tokens": context, "repetitions": REPETITIONS}
    return setting | {"blocks": dict(zip(block_names(sizes), found, strict=True))}


def _step(
    network: Any, device: torch.device, context: int, clock: Callable[[], float]
) -> Callable[[], tuple[float, float]]:
    """Runs a network on one new token, and gives the milliseconds of its layer and of all else."""
    tokens = torch.zeros(1, context, dtype=torch.int64, device=device)
    cache, marks = network(tokens, use_cache=True).cache, []

    def mark(*_: Any) -> None:
        if device.type != HOST.type:
            torch.accelerator.synchronize(device)
        marks.append(1e3 * clock())

    (layer,) = network.model.layers
    layer.register_forward_pre_hook(mark)
    layer.register_forward_hook(mark)

    def step() -> tuple[float, float]:
        marks.clear()
        mark()
        network(tokens[:, :1], cache=cache, use_cache=True)
        mark()
        cache.crop(-1)
        start, first, last, end = marks
        return last - first, end - start - (last - first)

    return step


def smoothed(sizes: Sizes, blocks: Mapping[str, float]) -> dict[str, float]:
    """The milliseconds of all blocks, so that none is below that of a smaller one.

    Args:
        sizes: of the blocks.
        blocks: as they were measured.

    Raises:
        UserError: one of them is missing.
    """
    names = block_names(sizes)
    if missing := [name for name in names if name not in blocks]:
        raise UserError(
            f"no time was measured for {missing[0]!r}, a block of the space; there are {', '.join(blocks):.60}"
        )
    times_N = torch.tensor([blocks[name] for name in names], dtype=torch.float64)
    rest_W, layers = times_N.tensor_split([len(sizes[0])])
    layers_WHM = layers.view([len(each) for each in sizes])
    found = [*ascending(rest_W).tolist(), *ascending(layers_WHM).flatten().tolist()]
    return dict(zip(names, found, strict=True))


def milliseconds(blocks: Mapping[str, float], shape: Shape) -> float:
    """Of one new token: what is no layer, and every layer.

    Args:
        blocks: `smoothed` times.
        shape: of the decoder.
    """
    return blocks[f"w{shape.width}"] + shape.depth * blocks[_layer(shape.width, shape.heads, shape.mlp)]


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
