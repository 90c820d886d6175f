"""The same run again: the same bits, for each number of processes and of threads."""

import json

import pytest
import rank_cases
import torch
from rank_cases import Cell, launched

from cnas.training.distributed import digests

pytestmark = [pytest.mark.distributed, pytest.mark.cross]
TIMES = 3
CELLS = [
    Cell("enas", "enas_rnn", "epoch", "token", "float32"),
    Cell("gdas", "nats", "step", "sample", "float32"),
    Cell("darts_v2", "darts_rnn", "epoch", "sequence", "float32"),
    Cell("setn", "nats", "epoch", "sample", "float32"),
    Cell("rsps", "enas_rnn", "step", "sequence", "float32"),
    Cell("sandwich", "gpt", "step", "token", "float32"),
]


def work(out, world, cells, threads):
    torch.set_num_threads(threads)
    accelerator, found = rank_cases.start(world), {}
    assert torch.get_num_threads() == threads
    for cell in cells:
        trainer = rank_cases.trained(cell, accelerator, out / cell.name)
        found[cell.name] = dict(digests(trainer.state()))
    (out / f"prints-{accelerator.process_index}.json").write_text(json.dumps(found), "utf-8")
    accelerator.end_training()
    return 0


def prints(out, world):
    return [json.loads((out / f"prints-{rank}.json").read_text("utf-8")) for rank in range(world)]


def test_the_same_run_again_has_the_same_bits(tmp_path, budget, measured):
    settings = budget(((1, 1), (2, 1), (1, 2)), ((1, 1), (2, 1), (1, 2), (2, 2)))
    runs = 0
    for world, threads in settings:
        # Threads that outnumber the cores wait for one another, and a search takes many times as long.
        cells = CELLS[:1] if threads > 1 else budget(CELLS[:1], CELLS)
        turns = []
        for turn in range(TIMES):
            out = launched(tmp_path / f"{world}-{threads}-{turn}", world, work, cells, threads)
            turns += prints(out, world)
        assert len(turns) == TIMES * world
        for mine in turns:
            assert mine == turns[0], (world, threads)
            assert all(len(mine[cell.name]) > 10 for cell in cells)
        runs += TIMES * len(cells)
    shown = ", ".join(f"{world}/{threads}" for world, threads in settings)
    measured(f"{runs} runs, {TIMES} of each search, on {shown} processes/threads: equal to the bit")
