import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_table import columns
from rounding import EXACT

from cnas.benchmarks import NatsTable, kendall_tau, supernet_ranking
from cnas.benchmarks.ranking import tau_error, tau_within
from cnas.errors import UserError

few = settings(derandomize=True, deadline=None, max_examples=60)
pairs = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=2, max_size=30)


def by_definition(scores, accuracies):
    """Every pair looked at; ties of each side counted apart."""
    same = opposite = tied_scores = tied_accuracies = 0
    every = list(itertools.combinations(zip(scores, accuracies, strict=True), 2))
    for (x, y), (other_x, other_y) in every:
        sign = ((x > other_x) - (x < other_x)) * ((y > other_y) - (y < other_y))
        same, opposite = same + (sign > 0), opposite + (sign < 0)
        tied_scores, tied_accuracies = tied_scores + (x == other_x), tied_accuracies + (y == other_y)
    below = (len(every) - tied_scores) * (len(every) - tied_accuracies)
    return (same - opposite) / math.sqrt(below) if below else None


@few
@given(pairs)
def test_it_is_tau_b_by_definition(values):
    scores, accuracies = zip(*values, strict=True)
    assert kendall_tau(scores, accuracies) == pytest.approx(by_definition(scores, accuracies), abs=EXACT)


@few
@given(pairs)
def test_only_the_order_counts_and_turning_one_side_turns_the_sign(values):
    scores, accuracies = zip(*values, strict=True)
    tau = kendall_tau(scores, accuracies)
    assert kendall_tau([math.exp(score) for score in scores], accuracies) == tau
    assert kendall_tau(accuracies, scores) == tau
    assert kendall_tau([-score for score in scores], accuracies) == (None if tau is None else -tau)


@few
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30, unique=True))
def test_equal_orders_give_exactly_one(values):
    assert kendall_tau(values, sorted(values)) == pytest.approx(by_definition(values, sorted(values)), abs=EXACT)
    assert kendall_tau(values, [value**3 if abs(value) > 1 else value for value in values]) == 1.0
    assert kendall_tau(values, [-value for value in values]) == -1.0


@few
@given(pairs)
def test_its_error_is_that_of_the_jackknife(values):
    without = [values[:place] + values[place + 1 :] for place in range(len(values))]
    taus = [by_definition(*zip(*rest, strict=True)) if len(rest) > 1 else None for rest in without]
    known = None if None in taus else math.sqrt((len(values) - 1) * statistics.pvariance(taus))
    assert tau_error(*zip(*values, strict=True)) == (None if known is None else pytest.approx(known, abs=1e-7))


def test_its_error_is_what_other_architectures_would_give():
    """Of 60 drawn anew again and again, scores and values being normal with τ = 1/3."""
    draws = np.random.default_rng(1)
    taus, errors = [], []
    for _ in range(300):
        values_A = draws.standard_normal(60)
        scores_A = 0.5 * values_A + math.sqrt(0.75) * draws.standard_normal(60)
        taus.append(kendall_tau(scores_A, values_A))
        errors.append(tau_error(scores_A, values_A))
    assert statistics.fmean(taus) == pytest.approx(1 / 3, abs=0.02)
    assert statistics.fmean(errors) == pytest.approx(statistics.stdev(taus), rel=0.1)


def test_a_known_value():
    # Of 15 pairs 11 agree, 2 disagree, and each side ties one.
    assert kendall_tau([1, 2, 2, 3, 4, 5], [1, 1, 2, 4, 5, 3]) == pytest.approx(9 / 14)


@pytest.mark.parametrize(
    ("scores", "accuracies", "message"),
    [
        ([1.0], [2.0], "scores must be at least two numbers, got 1"),
        ([], [], "scores must be at least two numbers, got 0"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], "equally many, got 2 and 3"),
        ([1.0, math.nan], [1.0, 2.0], "scores must be finite, got nan"),
        ([1.0, 2.0], [1.0, math.inf], "accuracies must be finite, got inf"),
    ],
)
def test_what_cannot_be_ranked(scores, accuracies, message):
    with pytest.raises(UserError, match=message):
        kendall_tau(scores, accuracies)


@pytest.fixture(scope="module")
def table():
    values = columns()
    return NatsTable(values["arch"], {"cifar10": values["cifar10_test_200"]}, "made up")


def test_a_supernet_that_knows_the_truth_has_tau_one(table):
    chosen = table.architectures[:50]
    accuracies = {text: table.query(text).test_accuracy["cifar10"] for text in chosen}
    right = supernet_ranking({text: 3 - value / 50 for text, value in accuracies.items()}, table)
    best, *_ = sorted(accuracies.values(), reverse=True)
    assert (right.kendall_tau, right.within_size, right.top_precision) == (1.0, 1.0, 1.0)
    assert (right.picks, right.architectures, right.dataset) == (8, 50, "cifar10")
    assert statistics.median(accuracies.values()) < right.expected_pick < best
    wrong = supernet_ranking({text: value / 50 for text, value in accuracies.items()}, table)
    assert (wrong.kendall_tau, wrong.within_size, wrong.top_precision) == (-1.0, -1.0, 0.0)
    assert wrong.expected_percentile < 0.5 < right.expected_percentile


def test_a_loss_that_is_no_number_is_the_worst(table):
    chosen = table.architectures[:12]
    losses = {text: math.sin(place) for place, text in enumerate(chosen)}
    worst = losses | {chosen[3]: 9.0, chosen[5]: 9.0}
    assert supernet_ranking(losses | {chosen[3]: math.inf, chosen[5]: math.nan}, table) == supernet_ranking(
        worst, table
    )


def test_the_pick_is_the_exact_mean_of_all_draws(table):
    chosen = table.architectures[:12]
    accuracies = [table.query(text).test_accuracy["cifar10"] for text in chosen]
    losses = {text: math.sin(place) for place, text in enumerate(chosen)}
    found = supernet_ranking(losses, table)
    picked = [min(pair, key=math.sin) for pair in itertools.combinations(range(12), 2)]
    assert found.picks == 2
    assert found.expected_pick == pytest.approx(statistics.fmean(accuracies[place] for place in picked))


@few
@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4), st.integers(0, 2)), min_size=2, max_size=30))
def test_within_classes_only_their_own_pairs_count(values):
    scores, accuracies, classes = zip(*values, strict=True)
    same = opposite = tied_scores = tied_accuracies = every = 0
    for (x, y, own), (other_x, other_y, other) in itertools.combinations(values, 2):
        if own == other:
            sign = ((x > other_x) - (x < other_x)) * ((y > other_y) - (y < other_y))
            same, opposite, every = same + (sign > 0), opposite + (sign < 0), every + 1
            tied_scores, tied_accuracies = tied_scores + (x == other_x), tied_accuracies + (y == other_y)
    below = (every - tied_scores) * (every - tied_accuracies)
    expected = (same - opposite) / math.sqrt(below) if below else None
    assert tau_within(scores, accuracies, classes) == pytest.approx(expected, abs=EXACT)


def test_what_a_supernet_cannot_be_compared_with(table):
    with pytest.raises(UserError, match="dataset must be one of cifar10, got 'svhn'"):
        supernet_ranking(dict.fromkeys(table.architectures[:2], 1.0), table, "svhn")
    with pytest.raises(UserError, match="character 1"):
        supernet_ranking({"0 1": 1.0}, table)
    with pytest.raises(UserError, match="at least two"):
        supernet_ranking({}, table)
