"""Time and memory of the ENAS supernet beside its matrix products alone; run by hand on an idle machine.

    make speed                                # B=64, T=35, H=300, V=10,000, two threads
    python tests/speed/enas_rnn.py --hidden 160 --batch 32 --threads 1

Each figure and its products are measured in turns in one run, with the same shapes; the median of the repeats counts.

Legend: B sequences, T tokens, H hidden units, V words, K candidates.
"""

from __future__ import annotations

import argparse
from functools import cache

import torch
from measuring import TEXT, Pair, Products, high_water, read_options, report
from torch import Tensor

from cnas.algorithms import ENAS
from cnas.algorithms.base import SearchContext
from cnas.random import DropoutSeeds, generator
from cnas.spaces import EnasRnnSpace
from cnas.spaces._cross_entropy import row_blocks
from cnas.types import Batch


def main() -> None:
    """Print a line per figure, and the whole as JSON."""
    options = read_options(str(__doc__), TEXT)
    torch.set_num_threads(options.threads)
    if options.memory:
        print(peak_memory(options))
        return
    bench = Bench(options)
    products = "products"
    rows: dict[str, tuple[Pair, str]] = {
        "weight step": ((bench.weight_step, bench.weight_products), products),
        "scoring K=5": ((lambda: bench.score(5), lambda: bench.score_products(5)), products),
        "controller step (10 samples)": ((bench.controller_step, lambda: bench.score_products(10)), products),
    }
    report(options, rows, __file__)


class Bench:
    """A supernet with data of the asked shape, and the same products without anything around them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.B, self.T, self.H, self.V = options.batch, options.length, options.hidden, options.vocabulary
        torch.manual_seed(0)
        self.space = EnasRnnSpace(vocab_size=self.V, hidden_size=self.H)
        self.supernet = self.space.build_supernet()
        self.optimizer = torch.optim.SGD(self.supernet.parameters(), lr=1e-3, weight_decay=8e-7)
        self.algorithm = ENAS.Config(updates=1).build(self.space, 0)
        tokens = torch.randint(self.V, (self.B, self.T))
        self.batch = Batch(tokens, tokens.roll(-1, 1), torch.arange(self.B)[:, None].expand(-1, self.T))
        self.product = Products()
        self.step = 0

    def weight_step(self) -> None:
        """Sampled path, dropouts, backward, clipping, update: what the trainer does for every batch."""
        self.step += 1
        routing = self.algorithm.route(generator(0, "route", self.step))
        noise = DropoutSeeds(0, "dropout", self.step, slice(0, self.B), self.B)
        self.optimizer.zero_grad()
        batch = Batch(self.batch.inputs, self.batch.labels, self.batch.unit_ids, None, noise)
        output = self.supernet(batch, routing)
        (output.losses.mean() + output.penalty).backward()
        used = [parameter for parameter in self.supernet.parameters() if parameter.grad is not None]
        torch.nn.utils.clip_grad_norm_(used, 0.1)
        self.optimizer.step()

    def score(self, count: int) -> Tensor:
        """Losses of ``count`` sampled subnets on the batch."""
        found = self.algorithm.candidates(count, generator(0, "judges", count))
        routings = [self.space.routing(architecture) for architecture in found]
        return self.supernet.forward_many(self.batch, routings, [None] * count)[0]

    def controller_step(self) -> None:
        """One REINFORCE update of ten samples on one batch."""

        def losses(found: list, _: int | None) -> Tensor:
            routings = [self.space.routing(architecture) for architecture in found]
            return self.supernet.forward_many(self.batch, routings, [None] * len(found))[0].flatten(1).mean(1)

        self.step += 1
        context = SearchContext(
            self.step, 10**6, lambda name, *at: generator(0, name, self.step, *at), losses, lambda: None
        )
        self.algorithm.end_epoch(context)

    def weight_products(self) -> None:
        """The products of a weight step: forward, and two of the same size backward."""
        self.product.step(self.B * self.T, self.H, 2 * self.H)
        for _ in range(self.T * (self.space.nodes + 1)):
            self.product.step(self.B, self.H, 2 * self.H)
        self.product.step(self.B * self.T, self.H, self.V)

    def score_products(self, count: int) -> None:
        """The products of scoring ``count`` paths; each node of each has a matrix of its own."""
        states, matrices, out = self._batched(count)
        self.product(self.B * self.T, self.H, 2 * self.H)
        for _ in range(self.T):
            self.product(count * self.B, self.H, 2 * self.H)
            for _ in range(self.space.nodes):
                torch.bmm(states, matrices, out=out)
        for rows in row_blocks(count * self.B * self.T, self.V):
            self.product(rows.stop - rows.start, self.H, self.V)

    @cache  # noqa: B019 - one bench lives as long as the program
    def _batched(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        states, matrices = torch.ones(count, self.B, self.H), torch.ones(count, self.H, 2 * self.H)
        return states, matrices, torch.empty(count, self.B, 2 * self.H)


def peak_memory(options: argparse.Namespace) -> float:
    """MB by which three weight steps lift the process's peak above that after the imports."""
    before = high_water()
    bench = Bench(options)
    for _ in range(3):
        bench.weight_step()
    return (high_water() - before) / 1024


if __name__ == "__main__":
    main()
