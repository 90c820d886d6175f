"""What the benchmarks share: times taken in turns, the peak of memory, their flags."""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

Pair = tuple[Callable[[], object], Callable[[], object]]
"""What is measured, and what it is compared with."""


def pair(whole: Callable[[], object], other: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of both, measured in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    whole(), other()
    for _ in range(repeats):
        for function, seconds in zip((whole, other), times, strict=True):
            gc.collect()
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def report(options: argparse.Namespace, rows: dict[str, tuple[Pair, str]], script: str) -> None:
    """Print a line per figure, the peak memory of ``script --memory``, and the whole as JSON."""
    seconds = {}
    for name, (both, beside) in rows.items():
        whole, other = seconds[name] = pair(*both, options.repeats)
        print(
            f"{name:30s} {whole * 1e3:8.1f} ms   {beside} {other * 1e3:8.1f} ms   ratio {whole / other:.2f}", flush=True
        )
    command = [sys.executable, script, "--memory", *sys.argv[1:]]
    memory = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{'peak memory of a step':30s} {memory:8.0f} MB above that after the imports")
    print(
        json.dumps({"options": vars(options), "seconds": seconds, "peak_memory_mb": memory, "torch": torch.__version__})
    )


def high_water() -> int:
    """KB; `resource.getrusage` would report the parent's peak, which a child inherits."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split("VmHWM:")[1].split()[0])


TEXT = {"batch": 64, "length": 35, "hidden": 300, "vocabulary": 10000}
"""Sizes of a step on text, at the size of the published searches."""


def read_options(description: str, sizes: Mapping[str, int]) -> argparse.Namespace:
    """The sizes, from the command line; ``sizes`` are what they are otherwise."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {**sizes, "threads": 2, "repeats": 9}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


class Products:
    """Matrix products and nothing else: operands and room for the results are made once."""

    def __init__(self) -> None:
        self.operands: dict[tuple[tuple[int, ...], tuple[int, int, int]], tuple[Tensor, Tensor, Tensor]] = {}

    def __call__(self, *shape: int, around: tuple[int, int, int] = (0, 1, 2)) -> None:
        """One product of [a, b] and [b, c], or with a, b, c in another order, as a backward pass has it."""
        if (shape, around) not in self.operands:
            a, b, c = (shape[axis] for axis in around)
            stored = {(0, 1, 2): (a, b, b, c), (0, 2, 1): (a, b, c, b), (1, 0, 2): (b, a, b, c)}[around]
            left, right = torch.ones(stored[:2]), torch.ones(stored[2:])
            views = {(0, 1, 2): (left, right), (0, 2, 1): (left, right.t()), (1, 0, 2): (left.t(), right)}[around]
            self.operands[shape, around] = (*views, torch.empty(a, c))
        left, right, out = self.operands[shape, around]
        torch.mm(left, right, out=out)

    def step(self, *shape: int) -> None:
        """A product and the two of the same size that its gradients are."""
        for around in ((0, 1, 2), (0, 2, 1), (1, 0, 2)):
            self(*shape, around=around)
