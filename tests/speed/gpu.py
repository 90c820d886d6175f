"""Whole steps on one GPU, beside their products alone and the eager path; run by hand, alone on the card.

    python tests/speed/gpu.py --json gpu.json                     # every row, in the precisions that have a goal
    python tests/speed/gpu.py --warm --budget 240 --json gpu.json # compile side by side first; end in four minutes
    python tests/speed/gpu.py --rows darts_v1 enas --precisions fp32 bf16
    python tests/speed/gpu.py --table gpu.json                    # what a file says, as a table of docs/performance.md
    python tests/speed/gpu.py --tiny --device cpu                 # whether every row runs, where there is no GPU

A JSON line follows each measurement: `captured` and `eager` (milliseconds of a step, the median of blocks of
consecutive steps of the product's own loop; kernels; memory; the first step's seconds), `products` (the matrix products
and convolutions of an eager step and nothing else, as one graph), `processes` (several searches on the card),
`trajectory` (the mean loss of the last of 200 steps from one seed) and, with ``--warm``, `compiled` (the first step,
with an empty cache if that is how it was found, while others compile too). Where the time is
short, what is worth less is left out and named in the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from gpu_products import Products, recording
from gpu_rows import PRECISIONS, ROWS, measure
from gpu_steps import EAGER, TINY, Amount, Enough, Steps, first_steps, timing, together, trajectory
from gpu_table import rounded, table

from cnas.errors import Stopped
from cnas.runs.devices import set_float32_precision

TRAJECTORIES = ("enas", "darts_v1", "derived")
SHARED = "enas"
"""What several processes run."""
JOBS = (1, 4)
SECONDS = {"captured": 8.0, "eager": 10.0, "products": 5.0, "processes": 40.0, "trajectory": 12.0}
"""What a measurement takes, as long as none of its kind was made."""
CHUNKS, TINY_CHUNKS, SHARED_CHUNKS = 230, 30, 4000
"""Batches of an epoch: more than a plan has steps, so that no epoch ends while it lasts."""


def main() -> None:
    """Print a line for each measurement."""
    options = read_options()
    if options.table is not None:
        print(table(json.loads(options.table.read_text("utf-8"))))
        return
    if options.device == "cpu":
        os.environ.update(CUDA_VISIBLE_DEVICES="", ACCELERATE_USE_CPU="true")
    elif not torch.cuda.is_available():
        print("no CUDA device: nothing is measured; --tiny --device cpu shows whether every row runs")
        return
    bench = Bench(options)
    if options.child:
        getattr(bench, options.child)()
    else:
        bench.run()


def read_options() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*ROWS, "processes", "trajectory"]
    parser.add_argument("--rows", nargs="+", choices=known, default=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--precisions", nargs="+", choices=[*PRECISIONS], help="in place of those that have a goal")
    parser.add_argument("--budget", type=float, default=float("inf"), help="start no measurement past so many seconds")
    parser.add_argument("--warm", action="store_true", help="first fill the compiler's cache, a process for each graph")
    parser.add_argument("--data", help="a folder of text, read as a run reads it; otherwise a text is made up")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all lines into one file, too")
    parser.add_argument("--table", type=Path, metavar="FILE", help="measure nothing: show such a file as a table")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: to see whether all of it runs")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--child", choices=["compile_rows", "share"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "cpu" and not options.tiny:
        parser.error("--device cpu goes with --tiny: speed is measured on a GPU")
    return options


@dataclass(frozen=True)
class Job:
    """One measurement."""

    measure: str
    row: str
    precision: str


@dataclass
class Bench:
    """Makes the measurements that were asked for, one after the other."""

    options: argparse.Namespace
    lines: list[dict[str, Any]] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=lambda: dict(SECONDS))
    recorded: dict[tuple[str, str], Products] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    where: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.where = machine(self.on_gpu)

    @property
    def on_gpu(self) -> bool:
        """Whether there is something to capture."""
        return bool(self.options.device == "cuda")

    @property
    def amount(self) -> Amount:
        """How much is measured of everything but the eager path."""
        return TINY if self.options.tiny else Amount()

    def run(self) -> None:
        """All measurements for which there is time."""
        if self.options.warm:
            self.compile_side_by_side()
        left_out = []
        for job in self.jobs():
            if self.left() < self.took[job.measure]:
                left_out.append(" ".join(vars(job).values()))
                continue
            start = time.monotonic()
            try:
                getattr(self, job.measure)(job)
            except Stopped:
                raise
            except Exception as problem:  # the other rows are measured all the same
                traceback.print_exc()
                self.emit(job, error=f"{type(problem).__name__}: {' '.join(str(problem).split()):.300}")
            spent = time.monotonic() - start
            self.took[job.measure] = min(max(self.took[job.measure], spent), 4 * SECONDS[job.measure])
        self.emit(measure="end", seconds=time.monotonic() - self.begun, not_measured=left_out)

    def left(self) -> float:
        """Seconds of the budget."""
        return float(self.options.budget) - (time.monotonic() - self.begun)

    def jobs(self) -> Iterator[Job]:
        """All that was asked for, what is worth most first."""
        names = [name for name in ROWS if name in self.options.rows]
        pairs = [(name, precision) for precision in PRECISIONS for name in names if self.wanted(name, precision)]
        first = dict(reversed(pairs))
        if self.on_gpu:
            yield from (Job("captured", *pair) for pair in pairs)
        if "processes" in self.options.rows:
            yield Job("processes", SHARED, (self.options.precisions or ["fp32"])[0])
        if "trajectory" in self.options.rows:
            yield from (Job("trajectory", name, kind) for name in TRAJECTORIES for kind in self.possible())
        yield from (Job("products", *pair) for pair in pairs)
        yield from (Job("eager", name, first[name]) for name in names if name in first)

    def possible(self) -> list[str]:
        """The precisions of this device among those that were asked for."""
        here = [*PRECISIONS] if self.on_gpu else ["fp32", "bf16"]
        return [name for name in here if name in (self.options.precisions or here)]

    def wanted(self, name: str, precision: str) -> bool:
        """Whether a row is measured in a precision: where it was asked for or, else, has a goal."""
        return precision in self.possible() and precision in (self.options.precisions or ROWS[name].goals)

    def emit(self, job: Job | None = None, **found: Any) -> None:
        """Print a line, and keep it."""
        if job is not None:
            row = ROWS[job.row]
            goal = {"goal_ms": row.goals.get(job.precision)} if job.measure == "captured" else {}
            found = vars(job) | {"unit": row.unit} | goal | found
        self.lines.append(self.where | rounded(found))
        print(json.dumps(self.lines[-1]), flush=True)
        if self.options.json is not None:
            self.options.json.write_text(json.dumps(self.lines, indent=1) + "\n", "utf-8")

    def steps_of(self, job: Job, plan: Any, mode: str, chunks: int | None = None) -> dict[str, Any]:
        """What a plan finds in the steps of a row."""
        own = TINY_CHUNKS if self.options.tiny else CHUNKS
        return measure(ROWS[job.row], plan, job.precision, mode, self.options, chunks or own)

    def mode(self) -> str:
        """The fastest way there is here."""
        return "on" if self.on_gpu else "off"

    def captured(self, job: Job) -> None:
        """Steps as a run does them on a GPU."""
        self.emit(job, **self.steps_of(job, timing(self.amount), "on"))

    def eager(self, job: Job) -> None:
        """The same steps without graphs."""
        self.emit(job, **self.steps_of(job, timing(TINY if self.options.tiny else EAGER), "off"))

    def products(self, job: Job) -> None:
        """The products of an eager step alone; those of TF32 are those of float32, done in another way."""
        key = (job.row, "fp32" if job.precision == "tf32" else job.precision)
        if key not in self.recorded:
            products = Products()
            self.steps_of(Job(job.measure, *key), recording(products), "off")
            self.recorded[key] = products
        set_float32_precision(tf32=job.precision == "tf32")
        recorded = self.recorded[key]
        run, steps = recorded.again(), Steps(timing(self.amount), recorded.device)

        def work() -> int:
            run()
            return recorded.times

        with suppress(Enough):
            steps.repeat(work)
        kept = ("ms", "ms_each", "kernels", "kernel_ms")
        found = {name: steps.found[name] for name in kept if name in steps.found}
        self.emit(job, products=len(recorded.calls) / recorded.times, **found)

    def trajectory(self, job: Job) -> None:
        """Where some steps lead in a precision."""
        self.emit(job, **self.steps_of(job, trajectory(self.amount), self.mode()))

    def processes(self, job: Job) -> None:
        """How many steps a second come off when several searches share the card."""
        command = self.command("share", job)
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        children: list[Any] = [subprocess.Popen(command, **pipes) for _ in range(max(JOBS))]
        try:
            for child in children:
                child.stdout.readline()  # its first steps are over
            for count in JOBS:
                for child in children[:count]:
                    child.stdin.write("go\n")
                    child.stdin.flush()
                found = [json.loads(child.stdout.readline()) for child in children[:count]]
                rates = [each["steps"] / each["seconds"] for each in found]
                self.emit(job, processes=count, steps_per_s=sum(rates), each=rates)
        finally:
            for child in children:
                child.stdin.close()
                child.wait()

    def share(self) -> None:
        """In a process of `processes`: run steps whenever a line asks for it."""

        def wait(found: dict[str, Any]) -> bool:
            print(json.dumps(found), file=sys.__stdout__, flush=True)
            return bool(sys.stdin.readline())

        job = Job("processes", self.options.rows[0], self.options.precisions[0])
        self.steps_of(job, together(self.amount, wait), self.mode(), None if self.options.tiny else SHARED_CHUNKS)

    def compile_side_by_side(self) -> None:
        """Fill the compiler's cache on the disk: a process for every row and precision, as many as there are cores."""
        wanted = [job for job in self.jobs() if job.measure in ("captured", "trajectory")]
        jobs = list(dict.fromkeys(Job("compiled", job.row, job.precision) for job in wanted))
        cores = os.cpu_count() or 1
        threads = {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": str(max(cores // max(len(jobs), 1), 1))}
        limit = None if self.left() == float("inf") else self.left() / 2

        def start(job: Job) -> dict[str, Any]:
            command, environment = self.command("compile_rows", job), os.environ | threads
            try:
                done = subprocess.run(
                    command, env=environment, timeout=limit, stdout=subprocess.PIPE, text=True, check=True
                )
                return dict(json.loads(done.stdout))
            except subprocess.SubprocessError as problem:
                return {"error": type(problem).__name__}

        with ThreadPoolExecutor(cores) as pool:
            for job, found in zip(jobs, pool.map(start, jobs), strict=True):
                self.emit(job, **found)

    def compile_rows(self) -> None:
        """In a process of `compile_side_by_side`: the first steps of a row."""
        job = Job("compiled", self.options.rows[0], self.options.precisions[0])
        print(json.dumps(self.steps_of(job, first_steps(self.amount), self.mode())))

    def command(self, child: str, job: Job) -> list[str]:
        """The words that start a child."""
        same = ["--device", self.options.device, *(["--tiny"] if self.options.tiny else [])]
        data = [] if self.options.data is None else ["--data", self.options.data]
        own = ["--child", child, "--rows", job.row, "--precisions", job.precision]
        return [sys.executable, __file__, *own, *same, *data]


def machine(on_gpu: bool) -> dict[str, Any]:
    """What figures depend on; every line has it."""
    return {"device": torch.cuda.get_device_name(0) if on_gpu else "cpu", "torch": torch.__version__}


if __name__ == "__main__":
    main()
