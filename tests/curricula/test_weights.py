"""The laws of σ and v. Legend: K candidates, U units."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT

from cnas.curricula import normalized_weights, uncertainty
from cnas.errors import NonFiniteError

SETTINGS = settings(derandomize=True, deadline=None, max_examples=40)
SCORE = st.floats(0, 1e6, allow_subnormal=False).map(lambda value: value if value > 1e-6 else 0.0)
SCORES = st.lists(SCORE, min_size=1, max_size=40)
DTYPES = st.sampled_from([torch.float32, torch.float64])


@SETTINGS
@given(SCORES, DTYPES)
def test_weights_are_not_negative_and_have_mean_one(scores, dtype):
    sigma_U = torch.tensor(scores, dtype=dtype)
    v_U = normalized_weights(sigma_U)
    assert v_U.dtype is dtype
    assert v_U.min() >= 0
    tolerance = EXACT if dtype is torch.float64 else 1e-6
    assert abs(math.fsum(v_U.tolist()) - len(v_U)) <= tolerance * len(v_U)


@SETTINGS
@given(SCORES)
def test_weights_are_proportional_to_the_scores(scores):
    sigma_U = torch.tensor(scores, dtype=torch.float64)
    v_U = normalized_weights(sigma_U)
    torch.testing.assert_close(v_U[:, None] * sigma_U, v_U * sigma_U[:, None], rtol=EXACT, atol=0)


@SETTINGS
@given(SCORES, st.floats(-30, 30), DTYPES)
def test_the_scale_of_the_scores_does_not_matter(scores, exponent, dtype):
    # float32 itself ends near 1e38, so its scores start out smaller.
    sigma_U = torch.tensor(scores, dtype=torch.float64) / 1e4
    expected = normalized_weights(sigma_U)
    found = normalized_weights((sigma_U * 10**exponent).to(dtype))
    tolerance = EXACT if dtype is torch.float64 else 1e-6
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


@SETTINGS
@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_the_units_does_not_matter(scores, random):
    order = list(range(len(scores)))
    random.shuffle(order)
    sigma_U = torch.tensor(scores, dtype=torch.float64)
    torch.testing.assert_close(normalized_weights(sigma_U[order]), normalized_weights(sigma_U)[order])


@SETTINGS
@given(SCORES)
def test_a_harder_unit_is_never_lighter(scores):
    sigma_U = torch.tensor(sorted(scores))
    v_U = normalized_weights(sigma_U)
    assert bool((v_U.diff() >= 0).all())


@SETTINGS
@given(st.integers(1, 50), st.one_of(st.just(0.0), st.floats(1e-30, 1e30)), DTYPES)
def test_where_all_scores_are_equal_or_zero_every_weight_is_exactly_one(count, score, dtype):
    v_U = normalized_weights(torch.full((count,), score, dtype=dtype))
    assert torch.equal(v_U, torch.ones(count, dtype=dtype))


@SETTINGS
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_uncertainty_is_the_root_of_the_mean_loss(count, units, seed):
    losses_KU = 9 * torch.rand(count, units, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = [math.sqrt(math.fsum(column) / count) for column in losses_KU.t().tolist()]
    torch.testing.assert_close(uncertainty(losses_KU), torch.tensor(expected, dtype=torch.float64), rtol=EXACT, atol=0)


def test_with_one_candidate_uncertainty_is_the_root_of_its_loss():
    losses_KU = torch.tensor([[0.0, 0.25, 4.0, 9.0]])
    assert torch.equal(uncertainty(losses_KU), torch.tensor([0.0, 0.5, 2.0, 3.0]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        uncertainty(torch.tensor([[1.0, value], [2.0, 3.0]]))
    with pytest.raises(NonFiniteError, match="finite and at least 0"):
        normalized_weights(torch.tensor([1.0, value]))


def test_a_negative_score_is_refused():
    with pytest.raises(NonFiniteError, match="at least 0"):
        normalized_weights(torch.tensor([1.0, -1e-9]))


@pytest.mark.parametrize("scale", [1e-45, 1e-40, 1e-20, 1.0, 1e30, 3e38 / 4])
def test_tiny_and_huge_losses_give_finite_weights(scale):
    losses_KU = torch.tensor([[1.0, 4.0], [1.0, 4.0], [1.0, 4.0]], dtype=torch.float64).mul(scale).float()
    assert losses_KU.min() > 0
    # Subnormal numbers are few, so what the losses have become is what counts.
    roots_U = [math.sqrt(loss) for loss in losses_KU[0].tolist()]
    expected = torch.tensor([2 * root / sum(roots_U) for root in roots_U])
    torch.testing.assert_close(normalized_weights(uncertainty(losses_KU)), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_losses_give_float32(dtype):
    losses_KU = torch.tensor([[1.0, 4.0]], dtype=dtype)
    assert uncertainty(losses_KU).dtype is torch.float32
    assert normalized_weights(losses_KU[0]).dtype is torch.float32
    assert torch.equal(normalized_weights(losses_KU[0]), torch.tensor([0.4, 1.6]))


@pytest.mark.parametrize("largest", [1.5e308, 1.0, 1e-320])
def test_scores_at_the_ends_of_float64_are_weighed_too(largest):
    sigma_U = torch.tensor([largest, largest / 2, largest], dtype=torch.float64)
    expected = torch.tensor([1.2, 0.6, 1.2], dtype=torch.float64)
    torch.testing.assert_close(normalized_weights(sigma_U), expected, rtol=1e-3, atol=0)
