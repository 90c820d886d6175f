"""Time and memory of the DARTS supernet beside its matrix products alone; run by hand on an idle machine.

    make speed                                # B=64, T=35, H=300, V=10,000, two threads
    python tests/speed/darts_rnn.py --hidden 160 --batch 32 --threads 1

Each figure and what it is compared with are measured in turns in one run, with the same shapes; the median of the
repeats counts. Architecture steps are those of the trainer, Adam on α included.

Legend: B sequences, T tokens, H hidden units, V words, K candidates.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from accelerate import Accelerator
from measuring import TEXT, Pair, Products, high_water, read_options, report
from torch import Tensor

from cnas import algorithms
from cnas.data import TextStreams
from cnas.random import DropoutSeeds, generator
from cnas.spaces import DartsRnnSpace
from cnas.spaces._cross_entropy import row_blocks
from cnas.training import RunContext, SearchArguments
from cnas.training.batch import Part
from cnas.training.bilevel import Bilevel
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
        "DARTS-V1 arch step": ((lambda: bench.arch_step("darts_v1"), bench.first_order_products), products),
        "DARTS-V2 arch step": ((lambda: bench.arch_step("darts_v2"), bench.weight_step), "weight step"),
        "scoring K=5": ((lambda: bench.score(5), lambda: bench.score_products(5)), products),
    }
    report(options, rows, __file__)


class Bench:
    """A supernet with data of the asked shape, and the same products without anything around them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.B, self.T, self.H, self.V = options.batch, options.length, options.hidden, options.vocabulary
        torch.manual_seed(0)
        self.space = DartsRnnSpace(vocab_size=self.V, hidden_size=self.H)
        self.supernet = self.space.build_supernet()
        self.config = SearchArguments(
            global_batch_size=self.B, eval_batch_size=self.B, weight_decay=5e-7, max_grad_norm=0.25
        )
        self.optimizer = torch.optim.SGD(self.supernet.parameters(), lr=1e-3, weight_decay=self.config.weight_decay)
        names = ("darts_v1", "darts_v2")
        self.algorithms = {name: algorithms.default_config(name).build(self.space, 0) for name in names}
        tokens = torch.randint(self.V, (self.B * (2 * self.T + 1),))
        self.streams = TextStreams(tokens, self.B, self.T)
        context = RunContext(Accelerator(), Path(tempfile.gettempdir()), 0, "0")
        self.bilevel = Bilevel(self.supernet, self.streams, self.config, context)
        self.product = Products()
        self.step = 0

    def batch(self) -> Batch:
        """A batch with the dropouts of a new step."""
        self.step += 1
        found = self.streams.batch(0, slice(0, self.B))
        noise = DropoutSeeds(0, "dropout", self.step, slice(0, self.B), self.B)
        return Batch(found.inputs, found.labels, found.unit_ids, None, noise)

    def weight_step(self) -> None:
        """Mixture, dropouts, backward, clipping, update: what the trainer does for every batch."""
        routing = self.algorithms["darts_v1"].route(generator(0, "route", self.step))
        self.optimizer.zero_grad()
        output = self.supernet(self.batch(), routing)
        (output.losses.mean() + output.penalty).backward()
        torch.nn.utils.clip_grad_norm_(self.supernet.parameters(), self.config.max_grad_norm)
        self.optimizer.step()

    def arch_step(self, name: str) -> None:
        """One update of α."""
        parts = [Part(self.batch(), 1.0)]
        self.algorithms[name].arch_step(self.bilevel.step_context(self.step, parts, 1.0, self.optimizer))

    def score(self, count: int) -> Tensor:
        """Losses of ``count`` subnets on the batch."""
        found = [self.space.sample(generator(0, "judges", index)) for index in range(count)]
        routings = [self.space.routing(architecture) for architecture in found]
        return self.supernet.forward_many(self.batch(), routings, [None] * count)[0]

    def weight_products(self) -> None:
        """The products of a weight step: forward, and two of the same size backward."""
        self.products(weights=True)

    def first_order_products(self) -> None:
        """The products of a gradient of α alone: forward, and one of the same size backward."""
        self.products(weights=False)

    def products(self, weights: bool) -> None:
        """Forward, gradient of the states, and with ``weights`` that of the matrices."""
        whole = (self.B * self.T, self.H, 2 * self.H)
        self.product(*whole)
        if weights:
            self.product(*whole, around=(0, 2, 1))
            self.product(*whole, around=(1, 0, 2))
        for sources in (1, *range(1, self.space.nodes + 1)):
            shape = (sources * self.B, self.H, 2 * self.H)
            for _ in range(self.T):
                self.product(*shape)
                self.product(*shape, around=(0, 2, 1))
                if weights:
                    self.product(*shape, around=(1, 0, 2))
        decoder = (self.B * self.T, self.H, self.V)
        self.product(*decoder)
        self.product(*decoder, around=(0, 2, 1))
        if weights:
            self.product(*decoder, around=(1, 0, 2))

    def score_products(self, count: int) -> None:
        """The products of scoring ``count`` paths."""
        self.product(self.B * self.T, self.H, 2 * self.H)
        for _ in range(self.T * (self.space.nodes + 1)):
            self.product(count * self.B, self.H, 2 * self.H)
        for rows in row_blocks(count * self.B * self.T, self.V):
            self.product(rows.stop - rows.start, self.H, self.V)


def peak_memory(options: argparse.Namespace) -> float:
    """MB by which two weight steps and two of the architecture lift the process's peak above that after the imports."""
    before = high_water()
    bench = Bench(options)
    for _ in range(2):
        bench.weight_step()
    bench.arch_step("darts_v1")
    bench.arch_step("darts_v2")
    return (high_water() - before) / 1024


if __name__ == "__main__":
    main()
