"""Every algorithm on every space, trained on the accelerator of this machine; prints how many, or that there is none.

Where it is CUDA, recorded searches too: beside the same search run step by step, in float64, and killed and resumed;
one of them in processes of their own, each with an empty compiler's cache. A program of its own: what runs the tests
never meets a device.
"""

import itertools
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from builders import bits, build_session, build_space, build_trainer, fits, rows

from cnas import algorithms, spaces
from cnas.curricula import Uncertainty
from cnas.data import Augment, ChannelStatistics, ImageBatches, ImageSet
from cnas.training import cuda_graphs, step_graphs


def check(folder: Path, device: str) -> int:
    """Raises where a search is not on the device or not finite; returns how many there were."""
    pairs = [pair for pair in itertools.product(algorithms.names(), spaces.names()) if fits(*pair)]
    for place, (algorithm, name) in enumerate(pairs):
        context, space = build_session(folder / str(place)), build_space(name)
        unit = "sample" if hasattr(space, "classes") else "token"
        judged = Uncertainty(num_candidates=2, unit=unit, refresh="step")
        trainer = build_trainer(context, judged, space=space, algorithm=algorithm, num_train_epochs=2)
        result = trainer.train()
        found = result.architecture or space.parse(result.front[0].architecture)
        assert space.parse(found.to_str()) == found
        assert {parameter.device.type for parameter in trainer.model.parameters()} == {device}, (algorithm, name)
        assert all(math.isfinite(row["train_loss"]) for row in rows(context.folder)), (algorithm, name)
    return len(pairs)


def check_images(device: torch.device) -> None:
    """Raises where a batch that is augmented on the device is not, to the bit, that of host memory."""
    draws = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (64, 3, 32, 32), generator=draws, dtype=torch.uint8)
    statistics = ChannelStatistics.of_bytes((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))
    options = {"seed": 1, "stream": "train", "statistics": statistics, "augment": Augment(cutout=8), "shuffle": True}
    batches = ImageBatches(ImageSet(pixels, torch.arange(64) % 10), 32, **options)
    for index in range(len(batches)):
        here, there = (each.batch(index, slice(0, 32)) for each in (batches, batches.to(device)))
        for name in ("inputs", "labels", "unit_ids"):
            assert getattr(there, name).device.type == device.type
            assert torch.equal(getattr(there, name).to(here.inputs.device), getattr(here, name)), name


RECORDED = [
    *itertools.product(("darts_rnn", "enas_rnn"), ("darts_v1", "rsps", "gdas", "enas")),
    ("darts_rnn", "darts_v2"),
    ("nats", "darts_v1"),
]


def recorded(folder: Path, space: str, algorithm: str, mode: str, dtype=torch.float64, **options):
    """A search at its beginning, whose steps are recorded or not."""
    context = build_session(folder)
    graphs = cuda_graphs.step_graphs(mode, context.device, "no", print)
    unit = "sample" if space == "nats" else "token"
    return build_trainer(
        replace(context, graphs=graphs),
        Uncertainty(num_candidates=2, unit=unit),
        space=build_space(space, **({} if space == "nats" else {"nodes": 3})),
        algorithm=algorithm,
        dtype=dtype,
        num_train_epochs=2,
        **options,
    )


def check_recorded(folder: Path, compiled: bool) -> None:
    """Raises where a recorded search is not the search, or where killed and resumed is not uninterrupted."""
    step_graphs.PAYS_FROM = 0 if compiled else math.inf
    for space, algorithm in RECORDED[::3] if compiled else RECORDED:
        place = folder / f"{space}-{algorithm}"
        whole = recorded(place / "whole", space, algorithm, "on", save_steps=1)
        plain = recorded(place / "plain", space, algorithm, "off")
        whole.run()
        plain.run()
        described = whole.context.graphs.describe()
        assert described.get("graphs", 0) > 0, (space, algorithm, described)
        assert "graph_problems" not in described, (space, algorithm, described)
        for mine, theirs in zip(whole.model.parameters(), plain.model.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8, msg=f"{space} {algorithm}: not the same")
        parts = recorded(place / "parts", space, algorithm, "on", save_steps=1)
        parts.train_step = until(parts, 4)
        try:
            parts.run()
        except KeyboardInterrupt:
            parts = recorded(place / "parts", space, algorithm, "on", save_steps=1)
        assert parts.resume()
        parts.run()
        # Convolutions of a GPU add up in no fixed order, with graphs or without.
        assert space == "nats" or bits(parts) == bits(whole), (space, algorithm, "resumed is not uninterrupted")


def check_killed(folder: Path, mode: str) -> None:
    """Raises where a compiled search that was killed and goes on in another process is not the uninterrupted one."""

    def ended(*words: str) -> int:
        cache = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "-".join(["cache", *words]))}
        program = [sys.executable, __file__, str(folder), mode, *words]
        return subprocess.run(program, env=os.environ | cache, check=False).returncode

    assert (ended("whole"), ended("parts", str(KILLED_AT)), ended("parts")) == (0, -signal.SIGKILL, 0)
    found, expected = (torch.load(folder / name / "bits.pt", weights_only=False) for name in ("parts", "whole"))
    assert found == expected, "killed and resumed is not uninterrupted"


KILLED_AT = 4


def run_part(folder: Path, mode: str, name: str, killed_at: int | None = None) -> None:
    """A search that goes on from what is in the folder; it kills itself at a step."""
    step_graphs.PAYS_FROM = 0
    loop = recorded(folder / name, "darts_rnn", "darts_v1", mode, dtype=torch.float32, save_steps=1)
    if killed_at is not None:
        loop.train_step = until(loop, killed_at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    loop.resume()
    loop.run()
    torch.save(bits(loop), folder / name / "bits.pt")


def _interrupt() -> None:
    raise KeyboardInterrupt


def until(loop, steps: int, end: Callable[[], None] = _interrupt):
    """The loop's step, which breaks off at step ``steps``."""
    own = loop.train_step

    def step(index: int):
        if loop.progress.step == steps:
            end()
        return own(index)

    return step


def main(folder: Path) -> None:
    """All checks that fit this machine."""
    if torch.cuda.is_available():
        check_killed(folder / "killed", "on")
        check_recorded(folder / "recorded", compiled=False)
        check_recorded(folder / "compiled", compiled=True)
    if torch.accelerator.is_available():
        found = torch.accelerator.current_accelerator()
        check_images(found)
        print(check(folder, found.type))
    else:
        print("none")


if __name__ == "__main__":
    place, *part = sys.argv[1:]
    if part:
        run_part(Path(place), *part[:2], *map(int, part[2:]))
    else:
        main(Path(place))
