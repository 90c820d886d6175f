"""The statistics of studies against closed forms, other programs' numbers, brute force and simulation."""

import itertools
import math

import numpy as np
import pytest
from rounding import EXACT
from scipy import stats

from cnas.studies import statistics
from cnas.studies.statistics import holm, paired_difference, pairs_needed, power, sign_flip_p


def normal_pairs(count, n, mean=0.0):
    return np.random.default_rng(3).normal(mean, 1.0, (count, n))


def test_the_interval_is_that_of_the_table():
    # t(0.975; 9) is 2.262157 in every table.
    differences = [0.02, 0.11, -0.03, 0.07, 0.05, 0.09, 0.01, 0.12, 0.04, 0.06]
    found = paired_difference(differences)
    mean, sd = np.mean(differences), np.std(differences, ddof=1)
    half = 2.262157 * sd / math.sqrt(10)
    assert (found.n, found.confidence, found.exact) == (10, 0.95, True)
    assert (found.mean, found.sd) == (pytest.approx(mean), pytest.approx(sd))
    assert (found.low, found.high) == (pytest.approx(mean - half, abs=1e-7), pytest.approx(mean + half, abs=1e-7))


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.975])
def test_the_interval_is_that_of_scipy(confidence):
    differences = normal_pairs(1, 7)[0]
    interval = stats.ttest_1samp(differences, 0).confidence_interval(confidence)
    found = paired_difference(differences, confidence)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_fewer_than_two_pairs_have_no_interval():
    none, one = paired_difference([]), paired_difference([0.3])
    assert (none.n, none.mean, none.sd, none.low, none.high, none.p) == (0, None, None, None, None, None)
    assert (one.n, one.mean, one.sd, one.low, one.high, one.p) == (1, 0.3, None, None, None, 1.0)


def test_equal_differences_have_an_interval_without_width():
    found = paired_difference([0.25, 0.25, 0.25])
    assert (found.low, found.mean, found.high, found.sd) == (0.25, 0.25, 0.25, 0.0)


@pytest.mark.parametrize("n", [5, 10])
def test_the_interval_covers_the_truth_as_often_as_it_says(n):
    found = [paired_difference(row) for row in normal_pairs(4000, n, mean=0.4)]
    covered = np.mean([each.low <= 0.4 <= each.high for each in found])
    assert covered == pytest.approx(0.95, abs=0.015)


def flips(differences):
    """All flips of signs, one by one."""
    sums = [
        abs(sum(sign * d for sign, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return np.mean([each >= abs(sum(differences)) - 1e-9 for each in sums])


@pytest.mark.parametrize("n", [1, 2, 3, 6, 9])
def test_the_sign_flip_test_is_that_of_brute_force(n):
    for row in normal_pairs(20, n, mean=0.3):
        assert sign_flip_p(row) == pytest.approx(flips(row), abs=EXACT)


def test_the_smallest_p_is_known_and_ties_count():
    assert [sign_flip_p([1.0] * n) for n in (1, 2, 5, 6, 8)] == [2.0 / 2**n for n in (1, 2, 5, 6, 8)]
    # On paper the sum is 0, so every flip is as large; in binary the sum is 5.6e-17.
    assert sign_flip_p([0.1, 0.2, -0.3]) == 1.0
    assert sign_flip_p([0.0, 0.0]) == 1.0


def test_the_sign_flip_test_is_that_of_scipy():
    row = normal_pairs(1, 12, mean=0.5)[0]
    theirs = stats.permutation_test((row,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True)
    assert sign_flip_p(row) == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("draw", ["normal", "laplace", "standard_t"])
def test_the_sign_flip_test_has_the_size_that_it_says(draw):
    # An exact test of n pairs can only be of sizes k / 2^(n - 1); with ten pairs 5 % is one to within 0.1 %.
    make = np.random.default_rng(5)
    rows = make.standard_t(3, (4000, 10)) if draw == "standard_t" else getattr(make, draw)(0, 1, (4000, 10))
    assert np.mean([sign_flip_p(row) <= 0.05 for row in rows]) == pytest.approx(0.05, abs=0.012)


def test_of_many_pairs_the_test_draws_flips_always_the_same(monkeypatch):
    row = normal_pairs(1, 21, mean=0.5)[0]
    assert not paired_difference(row).exact
    found = sign_flip_p(row)
    assert found == sign_flip_p(row)
    monkeypatch.setattr(statistics, "EXACT", 21)
    assert found == pytest.approx(sign_flip_p(row), abs=0.003)


def test_a_drawn_p_is_never_zero():
    assert sign_flip_p([1.0] * 60) == 1 / (statistics.DRAWS + 1)


@pytest.mark.parametrize(
    ("effect", "sd_of_a_run", "pairs"),
    # Of Δτ and of test perplexities, for runs of that spread: a difference of two has √2 of it.
    [(0.1, 0.04, 5), (0.1, 0.06, 8), (0.1, 0.08, 13), (1.55, 0.86, 7), (-1.55, 1.18, 12), (-1.55, 1.93, 27)],
)
def test_the_pairs_that_are_needed_are_those_of_the_protocol(effect, sd_of_a_run, pairs):
    sd = sd_of_a_run * math.sqrt(2)
    assert pairs_needed(effect, sd) == pairs
    assert power(effect, sd, pairs) >= 0.8 > power(effect, sd, pairs - 1)


def test_power_is_how_often_a_simulated_test_finds_the_effect():
    rows = normal_pairs(4000, 8, mean=0.9)
    found = np.mean(stats.ttest_1samp(rows, 0, axis=1).pvalue < 0.05)
    assert power(0.9, 1.0, 8) == pytest.approx(found, abs=0.02)


def test_power_at_its_ends():
    assert power(0.0, 1.0, 10) == pytest.approx(0.05)
    assert power(0.0, 1.0, 10, 0.975) == pytest.approx(0.025)
    assert (power(0.1, 0.0, 3), power(0.0, 0.0, 3)) == (1.0, pytest.approx(0.05))
    assert power(1e6, 1.0, 10) == pytest.approx(1.0)
    assert pairs_needed(1e-9, 1.0) is None
    assert pairs_needed(5.0, 0.0) == 2


def test_holm_keeps_order_and_is_the_textbook_s():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [pytest.approx(p) for p in (0.03, 0.06, 0.06, 0.02)]
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert (holm([]), holm([0.02])) == ([], [0.02])


def test_holm_keeps_false_alarms_as_rare_as_one():
    p_values = np.random.default_rng(9).uniform(size=(4000, 4))
    assert np.mean([min(holm(row)) <= 0.05 for row in p_values]) <= 0.05 + 0.01


def control_and_uncertainty(losses_KN):
    from cnas.curricula import curriculum_class
    from cnas.curricula.base import Progress

    torch = pytest.importorskip("torch")
    units_N = torch.arange(losses_KN.shape[1])
    ready = [
        curriculum_class(name)(num_candidates=len(losses_KN)).setup(len(units_N), seed=4)
        for name in ("uncertainty", "permuted")
    ]
    for curriculum in ready:
        curriculum.update(units_N, torch.from_numpy(losses_KN), Progress(0, 2, step=1))
    return [curriculum.v.numpy() for curriculum in ready]


def test_the_permutation_control_keeps_the_distribution_of_v_and_nothing_else():
    losses_KN = np.random.default_rng(2).gamma(2.0, size=(5, 400))
    weights_N, permuted_N = control_and_uncertainty(losses_KN)
    assert sorted(weights_N) == sorted(permuted_N)
    assert abs(np.corrcoef(weights_N, permuted_N)[0, 1]) < 0.15
