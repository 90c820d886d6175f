"""Time and memory of the ENAS supernet beside its matrix products alone; run by hand on an idle machine.

    make speed                                # B=64, T=35, H=300, V=10,000, two threads
    python tests/speed/enas_rnn.py --hidden 160 --batch 32 --threads 1

Each figure and its products are measured in turns in one run, with the same shapes; the median of the repeats counts.

Legend: B sequences, T tokens, H hidden units, V words, K candidates.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cnas.algorithms import ENAS
from cnas.algorithms.base import SearchContext
from cnas.rng import Noise, generator
from cnas.spaces import EnasRnnSpace
from cnas.spaces._language_model import row_blocks
from cnas.types import Batch


def main() -> None:
    """Print a line per figure, and the whole as JSON."""
    options = _options()
    torch.set_num_threads(options.threads)
    if options.memory:
        print(peak_memory(options))
        return
    bench = Bench(options)
    rows = {
        "weight step": pair(bench.weight_step, bench.weight_products, options.repeats),
        "scoring K=5": pair(lambda: bench.score(5), lambda: bench.score_products(5), options.repeats),
        "controller step (10 samples)": pair(bench.controller_step, lambda: bench.score_products(10), options.repeats),
    }
    for name, (whole, products) in rows.items():
        print(f"{name:30s} {whole * 1e3:8.1f} ms   products {products * 1e3:8.1f} ms   ratio {whole / products:.2f}")
    command = [sys.executable, __file__, "--memory", *sys.argv[1:]]
    memory = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{'peak memory of a step':30s} {memory:8.0f} MB above that after the imports")
    print(json.dumps({"options": vars(options), "seconds": rows, "peak_memory_mb": memory, "torch": torch.__version__}))


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
        self.step = 0

    def weight_step(self) -> None:
        """Sampled path, dropouts, backward, clipping, update: what the trainer does for every batch."""
        self.step += 1
        routing = self.algorithm.route(generator(0, "route", self.step))
        noise = Noise(0, "dropout", self.step, slice(0, self.B), self.B)
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
            self.step, 10**6, lambda name, *at: generator(0, name, self.step, *at), losses, 1, lambda: None
        )
        self.algorithm.end_epoch(context)

    def weight_products(self) -> None:
        """The products of a weight step: forward, and two of the same size backward."""
        x, w, c = torch.ones(self.B * self.T, self.H), torch.ones(self.H, 2 * self.H), torch.ones(self.B, self.H)
        z, zs = torch.ones(self.B, 2 * self.H), torch.ones(self.B * self.T, 2 * self.H)
        _, _, _ = x @ w, zs @ w.t(), x.t() @ zs
        for _ in range(self.T * (self.space.nodes + 1)):
            _, _, _ = c @ w, z @ w.t(), c.t() @ z
        decoder, logits = torch.ones(self.V, self.H), torch.ones(self.B * self.T, self.V)
        _, _, _ = x @ decoder.t(), logits @ decoder, logits.t() @ x

    def score_products(self, count: int) -> None:
        """The products of scoring ``count`` paths."""
        x, w = torch.ones(self.B * self.T, self.H), torch.ones(self.H, 2 * self.H)
        c, ws = torch.ones(count, self.B, self.H), torch.ones(count, self.H, 2 * self.H)
        _ = x @ w
        for _ in range(self.T):
            _ = c.flatten(0, 1) @ w
            for _ in range(self.space.nodes):
                _ = torch.bmm(c, ws)
        hidden, decoder = torch.ones(count * self.B * self.T, self.H), torch.ones(self.V, self.H)
        for rows in row_blocks(len(hidden), self.V):
            _ = hidden[rows] @ decoder.t()


def pair(whole: Callable[[], object], products: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of both, measured in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    whole(), products()
    for _ in range(repeats):
        for function, seconds in zip((whole, products), times, strict=True):
            gc.collect()
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def peak_memory(options: argparse.Namespace) -> float:
    """MB by which three weight steps lift the process's peak above that after the imports."""
    before = _high_water()
    bench = Bench(options)
    for _ in range(3):
        bench.weight_step()
    return (_high_water() - before) / 1024


def _high_water() -> int:
    """KB; `resource.getrusage` would report the parent's peak, which a child inherits."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split("VmHWM:")[1].split()[0])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {
        "batch": 64,
        "length": 35,
        "hidden": 300,
        "vocabulary": 10000,
        "threads": 2,
        "repeats": 9,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
