"""Which passes move running averages: those with the supernet's own weights, none at w′ or at w ± εu.

Legend: B images, C channels, P = B·height·width pixels.
"""

import pytest
import torch
from builders import build_session, build_space, build_trainer
from rounding import NORMED, within
from torch.nn import functional as F

from cnas import spaces
from cnas.errors import Stopped
from cnas.random import generator
from cnas.training.batch import cut

SHARE = 0.1
"""Of the newest batch in an average (Ioffe & Szegedy 2015; torch's default)."""
STEPS = 4


def copied(supernet):
    return {name: buffer.clone() for name, buffer in supernet.named_buffers()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def build(tmp_path, space="nats", algorithm="darts_v2"):
    return build_trainer(
        build_session(tmp_path), space=build_space(space), algorithm=algorithm, dtype=torch.float64, learning_rate=0.05
    )


@pytest.mark.parametrize("space", [name for name in spaces.names() if spaces.space_class(name).relaxable])
def test_an_unrolled_step_leaves_buffers_as_they_are_and_a_first_order_one_moves_those_of_images(tmp_path, space):
    trainer = build(tmp_path, space)
    supernet, before = trainer.parts.supernet, copied(trainer.parts.supernet)
    context = trainer.bilevel.step_context(0, cut(trainer.fetch(0), 1), 0.05, trainer.optimizer)
    trainer.algorithm.arch_step(context)
    assert equal(copied(supernet), before)
    alphas = trainer.algorithm.alphas
    context.valid(alphas.routing(), [alphas.logits])
    assert equal(copied(supernet), before) == (space != "nats")


def averaged(batches_PC):
    """Running mean and variance after these batches, one value of one batch at a time from the equations."""
    mean_C, variance_C = torch.zeros_like(batches_PC[0][0]), torch.ones_like(batches_PC[0][0])
    for batch_PC in batches_PC:
        newest_C = batch_PC.sum(0) / len(batch_PC)
        spread_C = ((batch_PC - newest_C) ** 2).sum(0) / (len(batch_PC) - 1)
        mean_C = (1 - SHARE) * mean_C + SHARE * newest_C
        variance_C = (1 - SHARE) * variance_C + SHARE * spread_C
    return mean_C, variance_C


def test_a_search_of_second_order_averages_its_weight_steps_and_nothing_else(tmp_path):
    trainer = build(tmp_path)
    skeleton, seen = trainer.parts.supernet.skeleton, []
    batches, weight_step = trainer.batches.at_epoch(0), trainer.weight_step

    def watched(index, *rest):
        inputs = batches.batch(index, slice(0, batches.rows(index))).inputs.double()
        stem_BCHW = F.conv2d(inputs, skeleton.stem.weight.detach(), padding=1)
        seen.append(stem_BCHW.permute(0, 2, 3, 1).flatten(0, 2))
        if index == STEPS:
            trainer.context.stop.request("the test")
        return weight_step(index, *rest)

    alphas = trainer.algorithm.alphas.logits.clone()
    trainer.weight_step = watched
    with pytest.raises(Stopped, match="stopped by the test"):
        trainer.run()
    assert len(seen) == STEPS + 1
    mean_C, variance_C = averaged(seen)
    torch.testing.assert_close(skeleton.stem_norm.running_mean, mean_C, **within(NORMED))
    torch.testing.assert_close(skeleton.stem_norm.running_var, variance_C, **within(NORMED))
    tracked = [int(count) for name, count in copied(trainer.parts.supernet).items() if name.endswith("tracked")]
    assert tracked == [len(seen)] * 5  # the norms of the stem and of two reductions
    assert not torch.equal(trainer.algorithm.alphas.logits, alphas)


def test_judging_and_validating_move_no_average(tmp_path):
    trainer = build(tmp_path)
    before = copied(trainer.parts.supernet)
    judges = trainer.algorithm.candidates(2, generator(0, "judges"))
    trainer.scorer.units(judges, trainer.batches.scoring_view(), lambda: None)
    trainer.scorer.validation(judges, trainer.parts.valid)
    trainer.scorer.accuracy(judges, trainer.parts.valid, 0)
    assert equal(copied(trainer.parts.supernet), before)
