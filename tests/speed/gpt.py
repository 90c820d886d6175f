"""Decoders of `gpt` beside stock ones of `transformers`, and steps of several paths beside those of one; run by hand.

    make speed
    python tests/speed/gpt.py                       # batches of 16 x 128 tokens, two threads, sizes of gpt_cl/cpu
    python tests/speed/gpt.py --threads 1 --busy    # on a busy machine: time of the processor, which others do not take
    python tests/speed/gpt.py --rounds 1 --batch 4  # whether it runs

What is compared is measured in turns in one run: forward and backward pass of a path and of a `LlamaForCausalLM` of its
sizes, dropouts off in both; a step of the search (AdamW, dropouts of the preset, what finds bad steps) with the four
paths of the sandwich rule, and with each of 20 random ones; the losses of 5 candidates. Of each, the median of the
rounds counts, and the mean of those over paths. Memory is what such passes lift the peak of a process above what it had
with weights and gradients. With CUDA the same for gpt_cl/small, 64 x 256 tokens in bfloat16.

A JSON line follows each measurement, a table in the end.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from measuring import high_water
from transformers import LlamaConfig, LlamaForCausalLM

from cnas.algorithms import default_config
from cnas.data.chunks import PackedChunks
from cnas.random import generator
from cnas.runs.config import RunConfig
from cnas.spaces import GptSpace
from cnas.training import RunContext, SearchLoop, SearchParts
from cnas.types import Architecture, Batch

GOALS = {"time / stock": 1.10, "memory / stock": 1.10, "sandwich / path": 4.8, "scoring K=5 / path": 1.6}
GOALS_MS = {"path": 15.0, "sandwich": 55.0}
"""Milliseconds of a step of gpt_cl/small on an H100 or the like."""
PATHS, CANDIDATES = 20, 5
MIDDLE = {"cpu": "w128 d3 h2 m384", "small": "w288 d5 h3 m960"}
NO_DROPOUT = {"dropout_embedding": 0.0, "dropout_hidden": 0.0, "dropout_output": 0.0}


def main() -> None:
    """Print a line per measurement, and a table."""
    options = read_options()
    torch.set_num_threads(options.threads)
    if options.child:
        print(json.dumps(Bench(options, "cpu").memory(options.child)))
        return
    found = []
    for preset in ("cpu", "small"):
        if preset == "small" and not torch.cuda.is_available():
            print(json.dumps({"preset": preset, "measured": "not measured: no CUDA device"}))
            continue
        bench = Bench(options, preset)
        for line in bench.lines():
            found.append({"preset": preset, "batch": bench.size, **line})
            print(json.dumps(found[-1]), flush=True)
    print("\n| preset | what | measured | goal |\n|---|---|---|---|")
    for line in found:
        print(f"| {line['preset']} | {line['what']} | {line['measured']:.3g} | {line.get('goal', '-')} |")


def read_options() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"batch": 16, "length": 128, "threads": 2, "rounds": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--busy", action="store_true", help="count the time of the processor, not that of the clock")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


class Bench:
    """A search of a preset on tokens that are made up, and stock networks."""

    def __init__(self, options: argparse.Namespace, preset: str) -> None:
        self.options, self.preset, self.gpu = options, preset, preset == "small"
        self.size = (64, 256) if self.gpu else (options.batch, options.length)
        self.config = RunConfig.from_preset(f"gpt_cl/{preset}")
        self.space: Any = replace(self.config.space, vocab_size=8192 if self.gpu else 4096)
        self.device = torch.device("cuda" if self.gpu else "cpu")
        rows, length = self.size
        tokens = torch.randint(self.space.vocab_size, (rows * length + 1,), generator=generator(0, "tokens"))
        self.chunks = PackedChunks(tokens, rows, length, seed=1)

    def lines(self) -> Iterator[dict[str, Any]]:
        """All measurements, one after the other."""
        compared = {"largest": str(self.space.extremes()[1]), "middle": MIDDLE[self.preset]}
        for name, text in compared.items():
            own, stock = self.beside_stock(text)
            yield self.ratio(f"time / stock, {name} path", own, stock, "ms")
        for name, text in {} if self.gpu else compared.items():
            own, stock = (self.in_a_child(kind, text) for kind in ("own", "stock"))
            yield self.ratio(f"memory / stock, {name} path", own, stock, "MB")
        path, sandwich, scoring = self.steps()
        yield self.ratio("sandwich / path", sandwich, path, "ms")
        yield self.ratio(f"scoring K={CANDIDATES} / path", scoring, path, "ms")
        for name, took in {"path": path, "sandwich": sandwich}.items() if self.gpu else ():
            yield {"what": f"{name} step, ms", "measured": took, "goal": GOALS_MS[name]}

    @staticmethod
    def ratio(what: str, whole: float, other: float, unit: str) -> dict[str, Any]:
        """A line with a ratio, and its goal."""
        goal = next(goal for name, goal in GOALS.items() if what.startswith(name))
        return {"what": what, "measured": whole / other, "goal": goal, unit: [whole, other]}

    def batch(self) -> Batch:
        """The one batch there is, without masks."""
        found = self.chunks.batch(0, slice(0, self.size[0]))
        return replace(found, inputs=found.inputs.to(self.device), labels=found.labels.to(self.device))

    def autocast(self) -> torch.autocast:
        """The precision of the preset."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.gpu)

    def passes(self, kind: str, text: str) -> Callable[[Batch], float]:
        """Forward and backward pass of a path of the supernet (``own``), or of a stock network of its sizes."""
        space: GptSpace = replace(self.space, **NO_DROPOUT)
        architecture = space.parse(text)
        if kind == "own":
            model = space.build_supernet().to(self.device).train()
            routing = space.routing(architecture)
            loss: Callable[[Batch], torch.Tensor] = lambda batch: model(batch, routing).losses.mean()  # noqa: E731
        else:
            model = stock(space, architecture).to(self.device).train()
            loss = lambda batch: model(batch.inputs, labels=batch.labels, shift_labels=batch.labels).loss  # noqa: E731

        def run(batch: Batch) -> float:
            model.zero_grad(set_to_none=False)
            with self.autocast():
                found = loss(batch)
            found.backward()
            return float(found.detach())

        return run

    def beside_stock(self, text: str) -> tuple[float, float]:
        """Milliseconds of both passes."""
        batch = self.batch()
        kinds = {kind: partial(self.passes(kind, text), batch) for kind in ("own", "stock")}
        times = self.in_turns(kinds, 4 * self.options.rounds)
        return times["own"], times["stock"]

    def in_turns(self, functions: dict[Any, Callable[[], object]], rounds: int) -> dict[Any, float]:
        """The median milliseconds of each function; the first round is not among them."""
        clock = time.process_time if self.options.busy else time.perf_counter
        taken: dict[Any, list[float]] = defaultdict(list)
        for _ in range(rounds + 1):
            for name, function in functions.items():
                gc.collect()
                self.wait()
                start = clock()
                function()
                self.wait()
                taken[name].append(1e3 * (clock() - start))
        return {name: statistics.median(every[1:]) for name, every in taken.items()}

    def wait(self) -> None:
        """Until the device is done."""
        if self.gpu:
            torch.cuda.synchronize()

    def steps(self) -> tuple[float, float, float]:
        """Milliseconds of a step with a random path, of one with the sandwich's four, and of scoring 5 candidates."""
        loop = self.loop()
        draws = generator(0, "paths")
        drawn = [self.space.sample(draws) for _ in range(PATHS)]
        smallest, largest = self.space.extremes()
        functions: dict[Any, Callable[[], object]] = {}
        for place, path in enumerate(drawn):
            functions["path", place] = self.step(loop, [path])
            if place % 2:
                functions["sandwich", place] = self.step(loop, [largest, smallest, *drawn[place - 1 : place + 1]])
            if not (place + 1) % CANDIDATES:
                functions["scoring", place] = self.scoring(loop, drawn[place + 1 - CANDIDATES : place + 1])
        times = self.in_turns(functions, self.options.rounds)
        path_ms, sandwich_ms, scoring_ms = (
            statistics.mean(took for (kind, _), took in times.items() if kind == name)
            for name in ("path", "sandwich", "scoring")
        )
        return path_ms, sandwich_ms, scoring_ms

    def loop(self) -> SearchLoop:
        """The search of the preset, which trains what `step` says."""
        arguments = replace(self.config.trainer, global_batch_size=self.size[0], eval_batch_size=self.size[0])
        AcceleratorState._reset_state(reset_partial_state=True)  # The sizes before may have run on another device.
        accelerator = Accelerator(cpu=not self.gpu, mixed_precision="bf16" if self.gpu else "no")
        context = RunContext(accelerator, Path(tempfile.mkdtemp()), 0, "0")
        algorithm = default_config("sandwich").build(self.space, 0)
        parts = SearchParts(self.space, self.space.build_supernet(), algorithm, None, self.chunks, self.chunks)
        return SearchLoop(parts, arguments, context)

    def step(self, loop: SearchLoop, paths: list[Architecture]) -> Callable[[], object]:
        """A step of the search with these paths."""
        routings = [self.space.routing(path) for path in paths]

        def run() -> object:
            loop.algorithm.routes = lambda _: routings
            return loop.train_step(0)

        return run

    def scoring(self, loop: SearchLoop, paths: list[Architecture]) -> Callable[[], object]:
        """The losses of some architectures on a batch."""
        batch = self.batch()
        return lambda: loop.scorer.batch_losses(paths, batch, [None] * len(paths), self.size[0])

    def in_a_child(self, kind: str, text: str) -> float:
        """`memory` in a process of its own."""
        command = [sys.executable, __file__, *sys.argv[1:], "--child", kind, text]
        return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))

    def memory(self, child: list[str]) -> float:
        """MB by which passes lift the peak above the memory of before, with weights, gradients and code in it."""
        kind, text = child
        run, batch = self.passes(kind, text), self.batch()
        run(replace(batch, inputs=batch.inputs[:1, :2], labels=batch.labels[:1, :2]))
        gc.collect()
        before = resident()
        for _ in range(3):
            run(batch)
        return (high_water() - before) / 1024


def resident() -> int:
    """KB."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split("VmRSS:")[1].split()[0])


def stock(space: GptSpace, architecture: Architecture) -> LlamaForCausalLM:
    """A Llama of these sizes, as anybody would build it."""
    sizes = space.shape_of(architecture.choices)
    config = LlamaConfig(
        vocab_size=space.vocab_size,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.depth,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.heads,
        head_dim=sizes.head_dim,
        intermediate_size=sizes.mlp,
        tie_word_embeddings=True,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


if __name__ == "__main__":
    main()
