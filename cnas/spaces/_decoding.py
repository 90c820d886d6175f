"""How long stock decoders of one layer take for one new token: the layer, and all else.

The times of a deeper decoder are added up of these: its embedding, positions, last norm and decoder once, and its
layer as often as it has layers. Networks are timed in turn, over and over, so that a moment in which the machine does
something else spoils one time of many networks and the median of none.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

WARM_UPS, REPETITIONS = 3, 30


class StepTimes(NamedTuple):
    """Milliseconds of one new token."""

    layer: float
    rest: float


def step_times(
    networks: Sequence[Any], device: torch.device, context: int, clock: Callable[[], float] = time.perf_counter
) -> list[StepTimes]:
    """Medians of some repetitions for each network: one row, one new token, attention to cached ones.

    Args:
        networks: stock decoders of one layer, on the device, in evaluation mode.
        device: which must have done its work before the clock is read.
        context: tokens in the cache.
        clock: seconds.
    """

    def now() -> float:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return clock()

    with torch.no_grad():
        steps = [_step(network, device, context, now) for network in networks]
        rounds = [[step() for step in steps] for _ in range(WARM_UPS + REPETITIONS)][WARM_UPS:]
    return [StepTimes(*map(statistics.median, zip(*taken, strict=True))) for taken in zip(*rounds, strict=True)]


def _step(network: Any, device: torch.device, context: int, now: Callable[[], float]) -> Callable[[], StepTimes]:
    """Runs one step of a network and takes its times; the cache is afterwards as it was."""
    tokens = torch.zeros(1, max(context, 1), dtype=torch.int64, device=device)
    cache, marks = network(tokens, use_cache=True).cache, []
    (layer,) = network.model.layers
    layer.register_forward_pre_hook(lambda *_: marks.append(now()))
    layer.register_forward_hook(lambda *_: marks.append(now()))

    def step() -> StepTimes:
        marks.clear()
        start = now()
        network(tokens[:, :1], cache=cache, use_cache=True)
        end = now()
        cache.crop(-1)
        first, last = marks
        return StepTimes(1e3 * (last - first), 1e3 * (end - start - (last - first)))

    return step
