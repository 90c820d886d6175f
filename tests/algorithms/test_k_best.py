"""The k best combinations: equal to brute force, exact in ties, quick where there are billions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.algorithms import k_best
from cnas.errors import UserError

FEW = st.sampled_from([0.0, -0.0, -0.5, -1.0, -0.1, -0.2, -0.3, -5e-324, -1e17, -math.inf])
ANY = st.floats(min_value=-1e300, max_value=1e300)
DECISIONS = st.lists(st.lists(st.one_of(FEW, ANY), min_size=1, max_size=4), min_size=0, max_size=4)
TIED = st.lists(st.lists(FEW, min_size=1, max_size=4), min_size=1, max_size=4)


def brute_force(rows):
    """All combinations, sorted by their exact sums and then by their indices."""
    found = []
    for indices in itertools.product(*map(range, map(len, rows))):
        values = [row[index] for row, index in zip(rows, indices, strict=True)]
        total = None if -math.inf in values else sum(map(Fraction, values), Fraction(0))
        found.append((total is None, -(total or 0), indices, -math.inf if total is None else float(total)))
    return [(indices, value) for _, _, indices, value in sorted(found)]


@settings(derandomize=True, deadline=None, max_examples=150)
@given(rows=st.one_of(DECISIONS, TIED), k=st.integers(1, 300))
def test_it_is_brute_force(rows, k):
    expected = brute_force(rows)
    tensors = [torch.tensor(row, dtype=torch.float64) for row in rows]
    for count in {1, min(k, len(expected)), k}:
        assert k_best(tensors, count) == expected[:count]


def test_equal_options_come_in_the_order_of_their_indices():
    found = k_best([torch.zeros(3), torch.zeros(2)], 4)
    assert found == [((0, 0), 0.0), ((0, 1), 0.0), ((1, 0), 0.0), ((1, 1), 0.0)]


def test_impossible_options_are_listed_last_and_cost_no_enumeration():
    rows = [torch.tensor([-math.inf, -1.0] + [-math.inf] * 98)] * 8
    found = k_best(rows, 3)
    assert found == [((1,) * 8, -8.0), ((0,) * 8, -math.inf), ((0,) * 7 + (1,), -math.inf)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64])
def test_any_kind_of_number_is_taken_at_its_value(dtype):
    values = torch.tensor([-3.0, -1.0], dtype=dtype)
    assert k_best([values, values], 2) == [((1, 1), -2.0), ((0, 1), -4.0)]
    leaf = torch.tensor([-1.0, -2.0], requires_grad=True)
    assert k_best([leaf], 9) == [((0,), -1.0), ((1,), -2.0)]


def test_a_sum_beyond_the_largest_float_is_infinite():
    huge = torch.tensor([-1.5e308], dtype=torch.float64)
    assert k_best([huge, huge], 1) == [((0, 0), -math.inf)]


def test_billions_of_architectures_need_no_enumeration():
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(4 * i, generator=generator, dtype=torch.float64).log_softmax(0) for i in range(1, 9)]
    found = k_best(rows, 15)
    assert found[0][0] == tuple(int(row.argmax()) for row in rows)
    assert found == k_best(rows, 700)[:15]
    # Fewer decisions can be listed: what is best overall is best in every part.
    (_, small), *_ = brute_force([row.tolist() for row in rows[:4]])
    assert k_best(rows[:4], 1)[0][1] == small


@pytest.mark.parametrize(
    ("rows", "k", "message"),
    [
        ([torch.zeros(2)], 0, "k is 0; allowed: 1 or more"),
        ([torch.zeros(2)], -1, "k is -1; allowed: 1 or more"),
        ([torch.zeros(2), torch.zeros(0)], 1, r"log_probs\[1\] has shape \(0,\); allowed: a one-dim"),
        ([torch.zeros(2, 2)], 1, r"log_probs\[0\] has shape \(2, 2\); allowed: a one-dim"),
        ([torch.tensor(0.0)], 1, r"log_probs\[0\] has shape \(\); allowed: a one-dim"),
        ([torch.tensor([0.0, math.nan])], 1, r"log_probs\[0\]\[1\] is nan; allowed: .* none NaN"),
        ([torch.tensor([math.inf])], 1, r"log_probs\[0\]\[0\] is inf; allowed: .* none NaN or \+inf"),
        ([[0.0]], 1, r"log_probs\[0\] is a list; allowed: a one-dim"),
    ],
)
def test_what_is_wrong_is_named(rows, k, message):
    with pytest.raises(UserError, match=message) as error:
        k_best(rows, k)
    assert "\n" not in str(error.value)
