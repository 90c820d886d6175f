"""Bounds of rounding: two orders of a sum keep to them, a wrong sum does not, and tests take theirs from there."""

import ast
from pathlib import Path

import pytest
import rounding
import torch
from rounding import apart

TESTS = Path(__file__).parent


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("count", [3, 40, 1000])
def test_two_orders_of_a_sum_keep_to_the_bound_and_a_wrong_sum_does_not(dtype, count):
    draws = torch.Generator().manual_seed(count)
    for _ in range(20):
        values = torch.randn(count, generator=draws, dtype=torch.float64).to(dtype)
        forward, backward = (each.cumsum(0)[-1] for each in (values, values.flip(0)))
        bound = apart(dtype, count) * float(values.abs().sum())
        assert float((forward - backward).abs()) <= bound
        wrong = values.clone()
        wrong[0] += 0.01 * values.abs().sum()
        assert float((wrong.cumsum(0)[-1] - backward).abs()) > bound


def test_bounds_are_of_rounding_and_far_below_a_mistake():
    limits = (rounding.EXACT, rounding.NORMED, rounding.TRAINED, rounding.TRAINED_COARSELY)
    assert list(limits) == sorted(limits)
    assert limits[-1] < 1e-7
    assert rounding.SINGLE < rounding.TRAINED_SINGLE < 1e-3


def tight(path):
    """Numbers below 2e-12 in what a test compares with."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Assert | ast.keyword):
            for each in ast.walk(node):
                if isinstance(each, ast.Constant) and isinstance(each.value, float) and 0 < each.value < 2e-12:
                    yield f"{path.name}, line {each.lineno}: {each.value}"


def test_no_test_has_a_tight_bound_of_its_own():
    paths = [path for path in TESTS.rglob("*.py") if "speed" not in path.parts]
    assert [found for path in paths for found in tight(path)] == []
