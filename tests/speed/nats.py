"""Time and memory of the NATS supernet beside one that runs one operation at a time; run by hand on an idle machine.

    make speed                                # 16 channels, one cell a stage, 64 images of 32×32, two threads
    python tests/speed/nats.py --cells 5 --threads 1

The plain one (`tests/oracle/textbook_nats.py`) has the same weights, runs one operation at a time and normalises by
torch's own function, both with channels last in memory, where that function is fastest but loses digits on a CPU. Each
figure and what it is compared with are measured in turns in one run; the median of the repeats counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import Pair, high_water, read_options, report
from torch import Tensor
from torch.nn import functional as F

from cnas.random import generator
from cnas.spaces import NatsSpace
from cnas.types import Batch, Routing

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
from textbook_nats import forward, mixed_edge, single_edge

EVERY = tuple((edge, operation) for edge in range(6) for operation in range(5))
Run = Callable[[Routing], Tensor]
"""From a routing to losses."""


def main() -> None:
    """Print a line per figure, and the whole as JSON."""
    options = read_options(str(__doc__), {"channels": 16, "cells": 1, "batch": 64, "size": 32})
    torch.set_num_threads(options.threads)
    if options.memory:
        print(peak_memory(options))
        return
    bench = Bench(options)
    rows: dict[str, tuple[Pair, str]] = {
        name: ((lambda step=step: step(bench.own), lambda step=step: step(bench.plain)), "plain")  # type: ignore[misc]
        for name, step in (
            ("DARTS-V1 step", bench.darts_step),
            ("weight step of a mixture", bench.mixture_step),
            ("4 steps, each of a path", bench.path_steps),
            ("4 steps, each of a hard sample", bench.hard_steps),
            ("step of a path per cell", bench.cells_step),
            ("scoring 5 paths", bench.score),
        )
    }
    report(options, rows, __file__)


class Bench:
    """A supernet with a batch of the asked size."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.space = NatsSpace(channels=options.channels, cells=options.cells)
        self.supernet = self.space.build_supernet()
        self.optimizer = torch.optim.SGD(
            self.supernet.parameters(), lr=0.025, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        self.scores = (1e-3 * torch.randn(1, *self.space.shape)).requires_grad_()
        images = torch.randn(options.batch, 3, options.size, options.size).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(10, (options.batch,))
        self.batch = Batch(images, labels, torch.arange(options.batch))
        self.draw = 0

    def own(self, routing: Routing) -> Tensor:
        """This package."""
        return self.supernet(self.batch, routing).losses

    def plain(self, routing: Routing) -> Tensor:
        """One operation at a time."""
        run_edge = single_edge if routing.unit else mixed_edge
        return forward(self.supernet, self.batch.inputs, self.batch.labels, routing, run_edge)[0]

    def step(self, run: Run, routing: Routing) -> None:
        """One update of the weights."""
        self.optimizer.zero_grad()
        run(routing).mean().backward()
        self.optimizer.step()

    def mixture_step(self, run: Run) -> None:
        """All operations of all edges."""
        self.step(run, Routing(self.scores.detach().softmax(-1), (EVERY,)))

    def darts_step(self, run: Run) -> None:
        """The same, and the gradient of α alone."""
        self.mixture_step(run)
        self.supernet.requires_grad_(False)
        torch.autograd.grad(run(Routing(self.scores.softmax(-1), (EVERY,))).mean(), self.scores)
        self.supernet.requires_grad_(True)

    def paths(self, count: int) -> list[Routing]:
        """The same ones for both sides of a comparison."""
        return [self.space.routing(self.space.sample(generator(0, "path", index))) for index in range(count)]

    def path_steps(self, run: Run) -> None:
        """Four paths, since they differ in cost."""
        for routing in self.paths(4):
            self.step(run, routing)

    def hard_steps(self, run: Run) -> None:
        """Four straight-through samples."""
        for routing in self.paths(4):
            picks = torch.tensor([operation for _, operation in routing.active[0]])
            shares = self.scores.softmax(-1)
            weights = F.one_hot(picks, 5) - shares.detach() + shares
            self.step(run, Routing(weights, routing.active))

    def cells_step(self, run: Run) -> None:
        """Another path in every cell."""
        found = [self.space.sample(generator(0, "cell", index)).choices for index in range(self.space.routed_cells)]
        self.step(run, Routing.paths(found, self.space.shape))

    @torch.no_grad()
    def score(self, run: Run) -> None:
        """Five paths, one after the other, in evaluation."""
        self.supernet.eval()
        for routing in self.paths(5):
            run(routing)
        self.supernet.train()


def peak_memory(options: argparse.Namespace) -> float:
    """MB by which two steps of DARTS-V1 lift the process's peak above that after the imports."""
    before = high_water()
    bench = Bench(options)
    for _ in range(2):
        bench.darts_step(bench.own)
    return (high_water() - before) / 1024


if __name__ == "__main__":
    main()
