"""What a search keeps of the losses it has computed, and what it adds to them."""

import math

import pytest
import torch

from cnas.algorithms.base import SearchContext
from cnas.spaces import EnasRnnSpace, GptSpace
from cnas.training.scored import RANDOM, keep_losses, scored_points

SPACE = GptSpace()
LOSSES = {one: 5.0 + place / 100 for place, one in enumerate(SPACE.all())}


def context(losses=LOSSES):
    def computed(architectures, index):
        return torch.tensor([losses[one] for one in architectures], dtype=torch.float64)

    def draws(name, *counters):
        return torch.Generator().manual_seed(len(name) + sum(counters))

    return SearchContext(0, 1, draws, computed, lambda: None)


def test_losses_over_all_batches_are_kept_and_others_are_not():
    kept, known = keep_losses(context())
    every = SPACE.all()
    assert kept.validation_losses(every[:3], None).tolist() == [LOSSES[one] for one in every[:3]]
    kept.validation_losses(every[3:6], 0)
    assert known == {one: LOSSES[one] for one in every[:3]}


def test_both_ends_and_random_ones_are_added_and_nothing_is_scored_twice():
    asked = []

    def losses(architectures):
        asked.extend(architectures)
        return [LOSSES[one] for one in architectures]

    smallest, largest = SPACE.extremes()
    known = {one: LOSSES[one] for one in [largest, *SPACE.all()[10:14]]}
    found = scored_points(known, SPACE, losses, context())
    assert not known.keys() & {*asked}
    assert len(asked) == len({*asked}) <= RANDOM + 1
    assert smallest in asked
    assert [each.architecture for each in found] == [str(one) for one in [*known, *asked]]
    for each in found:
        one = SPACE.parse(each.architecture)
        assert (each.loss, each.costs) == (LOSSES[one], SPACE.costs(one))
    drawn = {each.architecture for each in found if each.random}
    assert len(drawn) > RANDOM / 2
    assert {str(one) for one in asked} <= drawn | {str(smallest)}


def test_a_loss_that_is_no_number_is_no_point():
    _, largest = SPACE.extremes()
    found = scored_points({largest: math.inf}, SPACE, lambda more: [math.nan for _ in more], context())
    assert found == ()


@pytest.mark.parametrize("known", [{}, {EnasRnnSpace().parse("0 0 " * 8): 1.0}])
def test_where_nothing_has_a_size_nothing_is_added(known):
    def refuse(architectures):
        raise AssertionError(architectures)

    assert scored_points(known, EnasRnnSpace(), refuse, context()) == ()
