"""A checkpoint goes on with as many processes to the bit, and with more or fewer to rounding."""

from itertools import pairwise

import pytest
import rank_cases
import torch
from process_cases import numbers
from rank_cases import Cell, distance, launched
from rounding import TRAINED

from cnas.errors import Stopped
from cnas.training import RunContext

pytestmark = [pytest.mark.distributed, pytest.mark.cross]
LIMIT = TRAINED
CELLS = [
    Cell("enas", "enas_rnn", "step", "token"),
    Cell("gdas", "nats", "epoch", "sample"),
    Cell("darts_v1", "enas_rnn", "epoch", "sequence"),
    Cell("setn", "nats", "step", "sample"),
    Cell("spos", "enas_rnn", "epoch", "token"),
    Cell("rsps", "nats", "epoch", "sample"),
    Cell("enas", "gpt", "step", "sequence"),
    Cell("sandwich", "gpt", "epoch", "token"),
]
STOPS = (3, 6, 9, 11)
"""Amid an epoch, at the end of the first of two, and twice amid the second."""


def context(accelerator, folder):
    folder.mkdir(parents=True, exist_ok=True)
    return RunContext(accelerator, folder, 1, "same", check_ranks=4)


def stopped(cell, accelerator, folder, step):
    """Leave a checkpoint of ``step``."""
    trainer = cell.trainer(context(accelerator, folder))
    original = trainer.train_step

    def train_step(index):
        if trainer.progress.step + 1 == step and accelerator.is_main_process:
            trainer.context.stop.request("the test")
        return original(index)

    trainer.train_step = train_step
    try:
        trainer.train()
    except Stopped:
        assert trainer.progress.step == step
    else:
        raise AssertionError("it was not stopped")


def work(out, world, cells, stops, halves):
    """Whole runs, runs that are stopped, and those of ``halves`` gone on with."""
    accelerator, results = rank_cases.start(world), {}
    for cell in cells:
        if halves is None:
            results[cell.name] = numbers(rank_cases.trained(cell, accelerator, out / cell.name))
        for step in stops:
            place = f"{cell.name}-{step}"
            stopped(cell, accelerator, out / place, step)
            if halves is not None:
                trainer = cell.trainer(context(accelerator, halves / place))
                assert trainer.resume()
                assert trainer.progress.step == step
                trainer.train()
                results[place] = numbers(trainer)
    if accelerator.is_main_process:
        torch.save(results, out / "results.pt")
    accelerator.end_training()
    return 0


def test_another_number_of_processes_goes_on_with_a_checkpoint(tmp_path, budget, measured):
    cells, stops = budget(CELLS[:2], CELLS), budget(STOPS[1:3], STOPS)
    chain = [1, *budget((2, 1), (2, 1, 4, 2, 3))]
    worst, count = 0.0, 0
    whole, before = None, None
    for turn, world in enumerate(chain):
        out = launched(tmp_path / f"{turn}", world, work, cells, stops, before)
        found = torch.load(out / "results.pt")
        if before is None:
            whole = found
        else:
            said = (out / "rank-0" / "out-0").read_text("utf-8")
            warning = f"warning: saved with {chain[turn - 1]} processes, now {world}; "
            assert said.count(warning) == len(cells) * len(stops)
            for cell in cells:
                for step in stops:
                    apart = distance(whole[cell.name], found[f"{cell.name}-{step}"])
                    assert apart <= LIMIT, (cell.name, step, world, apart)
                    worst, count = max(worst, apart), count + 1
        before = out
    ways = ", ".join(f"{one} to {other}" for one, other in pairwise(chain))
    measured(f"{count} resumed searches, processes {ways}: at most {worst:.0e} from the uninterrupted one")


def test_as_many_processes_go_on_with_a_checkpoint_to_the_bit(tmp_path, budget, measured):
    cells, stops = budget(CELLS[:1], CELLS), budget(STOPS[1:3], STOPS)
    worlds = budget((2,), (2, 4))
    for world in worlds:
        before = launched(tmp_path / f"{world}-stopped", world, work, cells, stops, None)
        after = launched(tmp_path / f"{world}-resumed", world, work, cells, stops, before)
        assert "warning" not in (after / "rank-0" / "out-0").read_text("utf-8")
        whole, found = torch.load(before / "results.pt"), torch.load(after / "results.pt")
        for cell in cells:
            for step in stops:
                assert distance(whole[cell.name], found[f"{cell.name}-{step}"]) == 0.0, (cell, step, world)
    count = len(worlds) * len(cells) * len(stops)
    measured(f"{count} of {count} resumed searches, {' and '.join(map(str, worlds))} processes: equal to the bit")
