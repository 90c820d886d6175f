"""Buffers that are used again."""

import copy
import pickle

import pytest
import torch

from cnas.spaces._memory import SpareMemory

LIKE = torch.zeros(1)


def place(loan):
    return loan.values.data_ptr()


def test_a_buffer_is_lent_again_once_its_loan_is_deleted():
    memory = SpareMemory()
    first = memory.lend(6, LIKE)
    second = memory.lend(6, LIKE)
    assert place(first) != place(second)
    known = place(first)
    del first
    third = memory.lend(4, LIKE)
    assert place(third) == known
    assert third.values.shape == (4,)


def test_the_largest_is_kept():
    memory = SpareMemory()
    small, large = memory.lend(3, LIKE), memory.lend(9, LIKE)
    known = place(large)
    del large, small
    assert place(memory.lend(9, LIKE)) == known


@pytest.mark.parametrize(("count", "like", "dtype"), [(7, LIKE, None), (6, LIKE.double(), None), (6, LIKE, torch.half)])
def test_a_buffer_that_does_not_fit_is_replaced(count, like, dtype):
    memory = SpareMemory()
    loan = memory.lend(6, LIKE)
    del loan
    values = memory.lend(count, like, dtype).values
    assert values.shape == (count,)
    assert values.dtype is (dtype or like.dtype)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda memory: pickle.loads(pickle.dumps(memory))])
def test_a_copy_is_empty(duplicate):
    memory = SpareMemory()
    loan = memory.lend(6, LIKE)
    known = place(loan)
    del loan
    other = duplicate(memory).lend(6, LIKE)
    assert place(other) != known
    assert place(memory.lend(6, LIKE)) == known


def test_memory_from_inference_mode_serves_outside_of_it():
    memory = SpareMemory()
    with torch.inference_mode():
        loan = memory.lend(6, LIKE)
    del loan
    values = memory.lend(6, LIKE).values
    assert not values.is_inference()
    values.fill_(1)
    assert values.sum() == 6
