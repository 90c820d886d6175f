"""Packed chunks: every prediction once, in drawn orders; streams with context.

Legend: N tokens, T tokens of a chunk.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.data import PackedChunks, TextStreams
from cnas.errors import UserError


def passed(chunks):
    """All batches of a pass."""
    return [chunks.batch(index, slice(0, chunks.rows(index))) for index in range(len(chunks))]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    count=st.integers(20, 60),
    rows=st.integers(1, 4),
    length=st.integers(1, 5),
    unit=st.sampled_from(["sequence", "token"]),
    epoch=st.integers(0, 3),
)
def test_a_pass_predicts_every_token_once_from_the_one_before(count, rows, length, unit, epoch):
    tokens = torch.arange(100, 100 + count)
    chunks = PackedChunks(tokens, rows, length, unit, seed=1).at_epoch(epoch)
    found = passed(chunks)
    inputs, labels, units = (
        torch.cat([getattr(each, name) for each in found]) for name in ("inputs", "labels", "unit_ids")
    )
    assert torch.equal(labels, inputs + 1)
    assert labels.flatten().sort().values.tolist() == tokens[1 : 1 + (count - 1) // length * length].tolist()
    assert [*map(len, units)] == [length] * len(units)
    assert set(units.flatten().tolist()) == set(range(chunks.num_units))
    places = labels.sub(101)
    assert torch.equal(units, places if unit == "token" else places // length)


def test_orders_are_drawn_by_seed_and_epoch_and_units_stay():
    def order(seed, epoch):
        chunks = PackedChunks(torch.arange(61), 4, 3, seed=seed).at_epoch(epoch)
        return torch.cat([batch.unit_ids[:, 0] for batch in passed(chunks)]).tolist()

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4
    view = PackedChunks(torch.arange(61), 4, 3, seed=1).at_epoch(2).scoring_view()
    assert torch.cat([batch.unit_ids[:, 0] for batch in passed(view)]).tolist() == [*range(20)]


def test_rows_of_processes_are_the_batch():
    chunks = PackedChunks(torch.arange(47), 4, 3, seed=1)
    whole = chunks.batch(1, slice(0, 4))
    halves = [chunks.batch(1, rows) for rows in (slice(0, 2), slice(2, 4))]
    for name in ("inputs", "labels", "unit_ids"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(half, name) for half in halves]))
    assert [chunks.rows(index) for index in range(len(chunks))] == [4, 4, 4, 3]
    with pytest.raises(IndexError):
        chunks.batch(4, slice(0, 1))


def test_a_text_that_is_too_short_is_refused():
    assert len(PackedChunks(torch.arange(13), 4, 3, seed=1)) == 1
    with pytest.raises(UserError, match=r"12 tokens are too few .* at least 13 tokens are needed"):
        PackedChunks(torch.arange(12), 4, 3, seed=1)


def test_context_is_what_came_before_and_has_no_labels():
    plain, more = (TextStreams(torch.arange(40), 2, 5, start=99, tail="keep", context=count) for count in (0, 3))
    assert len(plain) == len(more) == 4
    for index in range(4):
        one, other = (streams.batch(index, slice(0, 2)) for streams in (plain, more))
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.unit_ids, other.unit_ids)
        before = min(3, 5 * index)
        assert other.inputs.shape == (2, before + 5)
        assert torch.equal(other.inputs[:, before:], one.inputs)
        if index:
            earlier = plain.batch(index - 1, slice(0, 2)).inputs
            assert torch.equal(other.inputs[:, :before], earlier[:, -before:])
