"""Time and memory of the NATS supernet beside one that runs one operation at a time; run by hand on an idle machine.

    make speed                                # 16 channels, one cell a stage, 64 images of 32×32, two threads
    python tests/speed/nats.py --cells 5 --threads 1

The plain one has the same weights and is made of torch's own layers. Each figure and what it is compared with are
measured in turns in one run; the median of the repeats counts. To be reached: 0.45 for a step of DARTS-V1 (weights and
α), 0.75 for steps of one path, 0.7 for scoring.
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

from cnas.rng import generator
from cnas.spaces import NatsSpace, SuperNet
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
    fast, plain = bench.fast, bench.plain
    rows: dict[str, tuple[Pair, str]] = {
        name: ((lambda step=step: step(fast), lambda step=step: step(plain)), "plain")  # type: ignore[misc]
        for name, step in (
            ("DARTS-V1 step", bench.darts_step),
            ("weight step of a mixture", bench.mixture_step),
            ("four steps of a path", bench.path_step),
            ("four steps of a hard sample", bench.hard_step),
            ("step of a path per cell", bench.cells_step),
            ("scoring K=5, random paths", bench.score),
        )
    }
    together, loop = bench.together, bench.one_by_one
    near, far = bench.neighbours(5), bench.paths(5)
    rows["scoring K=5, random paths "] = (lambda: together(far), lambda: loop(far)), "one by one"
    rows["scoring K=5, neighbours"] = (lambda: together(near), lambda: loop(near)), "one by one"
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
        images = torch.randn(options.batch, 3, options.size, options.size)
        labels = torch.randint(10, (options.batch,))
        self.batch = Batch(images, labels, torch.arange(options.batch))
        self.draw = 0

    def fast(self, routing: Routing) -> Tensor:
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

    def neighbours(self, count: int) -> list[Routing]:
        """Each differs from the first in one edge, like the best few of a product of distributions."""
        first = self.space.sample(generator(0, "path"))
        found = [first, *(self.space.mutate(first, generator(0, "mutate", index)) for index in range(1, count))]
        return [self.space.routing(one) for one in found]

    def path_step(self, run: Run) -> None:
        """Four paths, since they differ in cost."""
        for routing in self.paths(4):
            self.step(run, routing)

    def hard_step(self, run: Run) -> None:
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
        """Five paths: here together, plainly one after the other."""
        if run == self.fast:
            self.together(self.paths(5))
        else:
            for routing in self.paths(5):
                run(routing)

    def together(self, routings: list[Routing]) -> None:
        """What is shared is run once."""
        self.supernet.forward_many(self.batch, routings, [None] * len(routings))

    def one_by_one(self, routings: list[Routing]) -> None:
        """This package, nothing shared."""
        SuperNet.forward_many(self.supernet, self.batch, routings, [None] * len(routings))


def peak_memory(options: argparse.Namespace) -> float:
    """MB by which two steps of DARTS-V1 lift the process's peak above that after the imports."""
    before = high_water()
    bench = Bench(options)
    for _ in range(2):
        bench.darts_step(bench.fast)
    return (high_water() - before) / 1024


if __name__ == "__main__":
    main()
