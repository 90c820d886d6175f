"""The k best of NATS-Bench beside an enumeration of all 15,625 in the order of the published code."""

from __future__ import annotations

import pytest
import torch
from builders import build_space
from rounding import EXACT

from cnas.algorithms import k_best
from cnas.algorithms._relaxation import Alphas

K = 100


@pytest.mark.parametrize("seed", range(20))
def test_they_are_the_first_of_the_sorted_enumeration(seed):
    space = build_space("nats")
    alphas = Alphas(space, seed, scale=1.0)
    log_probs_EO = alphas.logits.detach().log_softmax(1)
    # The last edge varies fastest.
    sums = log_probs_EO[0]
    for row in log_probs_EO[1:]:
        sums = (sums[:, None] + row).flatten()
    values, places = sums.sort(descending=True, stable=True)
    expected = [tuple(place // 5 ** (5 - edge) % 5 for edge in range(6)) for place in places[:K].tolist()]
    found = k_best(list(log_probs_EO), K)
    assert len(sums) == space.size == 15_625
    assert [indices for indices, _ in found] == expected
    assert [value for _, value in found] == pytest.approx(values[:K].tolist(), abs=EXACT)
    every = [space.architecture([*enumerate(indices)]) for indices in expected]
    connected = [one for one in every if space.is_connected(one)]
    assert [one for one, _ in alphas.best(len(connected))[0]] == connected


def test_equal_weights_come_in_the_order_of_the_enumeration():
    found = [indices for indices, _ in k_best([torch.zeros(5)] * 6, 30)]
    assert found == [tuple(place // 5 ** (5 - edge) % 5 for edge in range(6)) for place in range(30)]
