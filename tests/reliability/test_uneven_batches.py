"""Any number of units on any number of processes: weights that sum to it, and the numbers of one process.

Legend: N units, B rows of the global batch, W processes.
"""

import builders
import pytest
import rank_cases
import torch
from process_cases import numbers
from rank_cases import distance, launched
from rounding import TRAINED

from cnas.curricula import Uncertainty
from cnas.data.image_batches import ImageBatches
from cnas.data.image_set import ChannelStatistics
from cnas.data.streams import TextStreams
from cnas.training import RunContext, SearchArguments, SearchLoop, SearchParts

pytestmark = pytest.mark.distributed
B = 5
LIMIT = TRAINED
TEXT = "text"


def images(space, count):
    """Training batches of ``count`` images, the last one uneven, and validation ones of 7: [5, 2]."""
    train, valid = builders.images(space, count), builders.images(space, 7, seed=1)
    options = {"seed": 1, "statistics": ChannelStatistics.of(train.images)}
    shuffled = ImageBatches(train, B, stream="search/train", shuffle=True, **options)
    return shuffled, ImageBatches(valid, B, stream="search/valid", **options)


def text(chunks):
    """Streams of ``chunks`` chunks, B units each."""
    train = TextStreams(builders.tokens(B * (5 * chunks + 1)), B, 5)
    return train, TextStreams(builders.tokens(60, seed=1), B, 5)


def searched(accelerator, folder, kind, count):
    """One search of two epochs; (its numbers, the sum of the weights of all rows of all processes, N)."""
    folder.mkdir(parents=True, exist_ok=True)
    space = builders.build_space("enas_rnn" if kind == TEXT else "nats")
    train, valid = text(count) if kind == TEXT else images(space, count)
    unit = "sequence" if kind == TEXT else "sample"
    torch.manual_seed(5)
    parts = SearchParts(
        space=space,
        supernet=space.build_supernet().double(),
        algorithm=builders.build_algorithm(space, "enas" if kind == TEXT else "gdas"),
        curriculum=Uncertainty(num_candidates=2, unit=unit),
        train=train,
        valid=valid,
    )
    config = SearchArguments(
        num_train_epochs=2, global_batch_size=B, eval_batch_size=B, learning_rate=0.1, max_grad_norm=1.0
    )
    context = RunContext(accelerator, folder, 1, "same", check_ranks=3)
    trainer = SearchLoop(parts, config, context)
    trainer.curriculum.state["v"] = trainer.curriculum.v.double()
    trainer.train()
    return numbers(trainer), own_weights(trainer), train.num_units


def own_weights(trainer):
    """Each process adds the weights of its own rows of all batches; this is the sum over them."""
    batches, ranks, total = trainer.batches.at_epoch(1), trainer.processes, 0.0
    for index in range(len(batches)):
        batch = batches.batch(index, ranks.rows(batches.rows(index)))
        total += float(
            trainer.curriculum.weights(
                batch.unit_ids.flatten(1)[:, 0] if batch.unit_ids.dim() > 1 else batch.unit_ids
            ).sum()
        )
    return ranks.sum_numbers(total)[0]


def work(out, world, cases):
    accelerator = rank_cases.start(world)
    results = {case: searched(accelerator, out / f"{case[0]}-{case[1]}", *case) for case in cases}
    if accelerator.is_main_process:
        torch.save(results, out / "results.pt")
    accelerator.end_training()
    return 0


def test_every_number_of_units_on_every_number_of_processes(tmp_path, budget, measured):
    counts = budget((2, 7, 11), range(2, 3 * B + 2))
    cases = [*(("images", count) for count in counts), *((TEXT, chunks) for chunks in budget((2,), (1, 2, 3, 4)))]
    worlds, found = budget((3,), (2, 3, 4, 5)), {}
    for world in (1, *worlds):
        out = launched(tmp_path / f"{world}", world, work, cases)
        found[world] = torch.load(out / "results.pt")
    worst, off = 0.0, 0.0
    for case in cases:
        for world in (1, *worlds):
            mine, total, units = found[world][case]
            assert abs(total - units) <= 1e-9 * units, (case, world, total)
            apart = distance(found[1][case][0], mine)
            assert apart <= LIMIT, (case, world, apart)
            worst, off = max(worst, apart), max(off, abs(total - units) / units)
    measured(
        f"{len(cases)} numbers of units on {', '.join(map(str, worlds))} processes, some without a row: at most "
        f"{worst:.0e} from one process; Σv = N within {off:.0e} N"
    )
