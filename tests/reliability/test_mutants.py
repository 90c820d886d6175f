"""Mistakes that are easily made with several processes, made on purpose: the comparison must find every one.

Legend: B rows of the global batch, b of one process.
"""

import os
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import pytest
import rank_cases
import torch
from process_cases import numbers
from rank_cases import Cell, distance, launched
from rounding import TRAINED_COARSELY

from cnas.curricula import Curriculum
from cnas.data.base import process_rows
from cnas.random import DropoutSeeds, generator
from cnas.training import RunContext
from cnas.training.distributed import ProcessGroup
from cnas.training.loop import AccelerateLoop

pytestmark = pytest.mark.distributed
LIMIT = TRAINED_COARSELY
"""The loosest of the limits that the searches below are held to."""
TEXT = Cell("darts_v1", "enas_rnn", "step", "sequence")
NORMALISED = Cell("darts_v1", "darts_rnn", "step", "sequence")
EPOCHWISE = Cell("darts_v1", "enas_rnn", "epoch", "sequence")
"""Candidates score batches of their own."""
CELLS = (TEXT, NORMALISED, EPOCHWISE)


def weights_normalised_by_every_process_alone():
    """Every process would weigh its rows among themselves: their mean is 1, and not that of all."""
    original = Curriculum.update

    def update(self, unit_ids_U, losses_KU, progress):
        for rank in range(2):
            rows = process_rows(len(unit_ids_U), rank, 2)
            original(self, unit_ids_U[rows], losses_KU[:, rows], progress)

    return patch.object(Curriculum, "update", update)


def gradients_averaged_instead_of_summed():
    """The mean over processes of shares that already add up to one: half the gradient."""
    original = ProcessGroup.sum_gradients

    def sum_gradients(self, parameters):
        kept = list(parameters)
        original(self, kept)
        for parameter in kept:
            parameter.grad /= self.world

    return patch.object(ProcessGroup, "sum_gradients", sum_gradients)


def rows_repeated_until_all_have_equally_many():
    """How samplers fill up: of five rows, the third is trained on twice."""
    original = AccelerateLoop.fetch

    def padded(total, rank, world):
        size = -(-total // world)
        start = min(rank * size, total - size)
        return slice(start, start + size)

    def fetch(self, index):
        with patch("cnas.training.distributed.process_rows", padded):
            return original(self, index)

    return patch.object(AccelerateLoop, "fetch", fetch)


@contextmanager
def another_architecture_on_every_process():
    """α is drawn by every process for itself."""
    original, rank = Cell.trainer, int(os.environ["RANK"])

    def trainer(self, context):
        made = original(self, context)
        with torch.no_grad():
            made.algorithm.alphas.logits += 0.1 * rank * torch.arange(made.algorithm.alphas.logits.shape[-1])
        return made

    with patch.object(Cell, "trainer", trainer):
        yield


def dropout_drawn_by_every_process():
    """Masks of a stream that has the process in its name."""
    rank = int(os.environ["RANK"])

    def drawn(self, name):
        return generator(self.seed, f"{self.stream}/{name}/{rank}", self.step)

    return patch.object(DropoutSeeds, "generator", drawn)


def statistics_of_every_process_alone():
    """Normalisation over the rows at hand."""
    return patch.object(ProcessGroup, "all_reduce_sum", property(lambda _: lambda values: values))


MUTANTS = {
    weights_normalised_by_every_process_alone: TEXT,
    gradients_averaged_instead_of_summed: TEXT,
    rows_repeated_until_all_have_equally_many: EPOCHWISE,
    another_architecture_on_every_process: TEXT,
    dropout_drawn_by_every_process: TEXT,
    statistics_of_every_process_alone: NORMALISED,
}


def searched(cell, accelerator, folder):
    """Without the comparison of the processes, which would find some of them first."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer = cell.trainer(RunContext(accelerator, folder, 1, "same"))
    trainer.train()
    return numbers(trainer)


def work(out, world):
    """The searches as they are and, on several processes, with every mistake."""
    accelerator = rank_cases.start(world)
    found = {cell.name: searched(cell, accelerator, out / cell.name) for cell in CELLS}
    for mutant, cell in MUTANTS.items() if world > 1 else ():
        with ExitStack() as mistake:
            mistake.enter_context(mutant())
            found[mutant.__name__] = searched(cell, accelerator, out / mutant.__name__)
    if accelerator.is_main_process:
        torch.save(found, out / "results.pt")
    accelerator.end_training()
    return 0


def check_equal_to_one_process(alone, found):
    apart = distance(alone, found)
    assert apart <= LIMIT, apart


def test_mistakes_with_several_processes_are_found(tmp_path, measured):
    alone, pair = (torch.load(launched(tmp_path / f"{world}", world, work) / "results.pt") for world in (1, 2))
    for cell in CELLS:
        check_equal_to_one_process(alone[cell.name], pair[cell.name])
    least = {}
    for mutant, cell in MUTANTS.items():
        with pytest.raises(AssertionError):
            check_equal_to_one_process(alone[cell.name], pair[mutant.__name__])
        least[mutant.__name__] = distance(alone[cell.name], pair[mutant.__name__])
        assert least[mutant.__name__] > 1e-6, mutant
    measured(f"{len(least)} of {len(MUTANTS)} mistakes found; the least one differs by {min(least.values()):.0e}")
