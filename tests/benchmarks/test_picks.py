import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT

from cnas.benchmarks import expected_pick, pick_chances
from cnas.errors import UserError

few = settings(derandomize=True, deadline=None, max_examples=60)
scored = st.lists(st.integers(-3, 3), min_size=1, max_size=8)


def by_drawing_all(scores, count):
    """Every way to draw ``count`` of them; of equal best ones each is taken as often."""
    chances = [0.0] * len(scores)
    draws = list(itertools.combinations(range(len(scores)), count))
    for drawn in draws:
        best = [index for index in drawn if scores[index] == max(scores[other] for other in drawn)]
        for index in best:
            chances[index] += 1 / (len(best) * len(draws))
    return chances


@few
@given(scored, st.data())
def test_chances_are_those_of_all_draws(scores, data):
    count = data.draw(st.integers(1, len(scores)))
    found = pick_chances(scores, count)
    assert found == pytest.approx(by_drawing_all(scores, count), abs=EXACT)
    assert found.sum() == pytest.approx(1.0, abs=EXACT)
    values = [float(place**2) for place in range(len(scores))]
    assert expected_pick(scores, values, count) == pytest.approx(float(np.dot(found, values)), abs=EXACT * 100)


def test_one_draw_is_the_mean_and_all_are_the_best():
    values = [3.0, 9.0, 4.0, 8.0]
    assert expected_pick(values, values, 1) == 6.0
    assert expected_pick(values, values, 4) == 9.0


def test_many_are_summed_up_without_overflow():
    scores = np.arange(15_284.0)
    # Of uniform scores the best of m lies at m/(m + 1) of the way, up to the size of a step.
    assert expected_pick(scores, scores, 100) == pytest.approx(100 / 101 * 15_285 - 1, rel=1e-9)


@pytest.mark.parametrize(
    ("scores", "count", "message"),
    [
        ([], 1, "count must be from 1 to 0"),
        ([1.0], 2, "count must be from 1 to 1, the architectures there are, got 2"),
        ([1.0], 0, "got 0"),
        ([1.0, math.nan], 1, "must be finite"),
    ],
)
def test_what_cannot_be_picked_from(scores, count, message):
    with pytest.raises(UserError, match=message):
        pick_chances(scores, count)
