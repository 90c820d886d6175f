"""Buffers that are used again."""

import copy
import pickle

import pytest
import torch

from cnas.spaces._memory import BufferPool

LIKE = torch.zeros(1)


def place(buffers):
    return buffers.parts[0].data_ptr()


def test_a_buffer_is_lent_again_once_its_loan_is_deleted():
    memory = BufferPool()
    first = memory.take([(6,)], LIKE)
    second = memory.take([(6,)], LIKE)
    assert place(first) != place(second)
    known = place(first)
    del first
    third = memory.take([(2, 2)], LIKE)
    assert place(third) == known
    assert third.parts[0].shape == (2, 2)


def test_the_largest_is_kept():
    memory = BufferPool()
    small, large = memory.take([(3,)], LIKE), memory.take([(9,)], LIKE)
    known = place(large)
    del large, small
    assert place(memory.take([(9,)], LIKE)) == known


def test_parts_of_a_loan_do_not_overlap():
    parts = BufferPool().take([(2, 3), (0, 4), (5,)], LIKE).parts
    assert [part.shape for part in parts] == [(2, 3), (0, 4), (5,)]
    for number, part in enumerate(parts):
        part.fill_(number)
    assert [part.unique().tolist() for part in parts] == [[0], [], [2]]


@pytest.mark.parametrize(("count", "like", "dtype"), [(7, LIKE, None), (6, LIKE.double(), None), (6, LIKE, torch.half)])
def test_a_buffer_that_does_not_fit_is_replaced(count, like, dtype):
    memory = BufferPool()
    buffers = memory.take([(6,)], LIKE)
    del buffers
    values = memory.take([(count,)], like, dtype).parts[0]
    assert values.shape == (count,)
    assert values.dtype is (dtype or like.dtype)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda memory: pickle.loads(pickle.dumps(memory))])
def test_a_copy_is_empty(duplicate):
    memory = BufferPool()
    buffers = memory.take([(6,)], LIKE)
    known = place(buffers)
    del buffers
    other = duplicate(memory).take([(6,)], LIKE)
    assert place(other) != known
    assert place(memory.take([(6,)], LIKE)) == known


def test_memory_from_inference_mode_serves_outside_of_it():
    memory = BufferPool()
    with torch.inference_mode():
        buffers = memory.take([(6,)], LIKE)
    del buffers
    values = memory.take([(6,)], LIKE).parts[0]
    assert not values.is_inference()
    values.fill_(1)
    assert values.sum() == 6
